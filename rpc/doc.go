// Package rpc is the front of the server: JSON-RPC 2.0 over WebSocket.
//
// A message is the content of one text frame: a request, or a batch of them. A
// call is one request that is being carried out. A reply is what goes back for
// a message: one response, or an array with a response for each entry of the
// batch that has an id. A notification is a request without an id and gets no
// response, whatever becomes of it; those that the server sends tell what becomes
// of executions and sessions. A follower sends a connection those of one
// execution, and a watch the end of one session.
//
// Lifecycle of a connection: one goroutine reads messages and turns them into
// calls, one writes replies, and every call runs on a goroutine of its own.
// What has been received is carried out even if the client leaves; only the
// replies are dropped then, and its followers end. Another client can have its
// place. A connection is forgotten when its last call ended.
//
// Order: calls of one connection that name the same session, or give input to
// the same execution, run one at a time in the order of arrival, also within a
// batch. So do those of a method whose results are large. All other calls run at
// once. A follower begins before the reply where
// its program is waited for, and otherwise behind the reply. What it sends has
// the order of each stream, its end comes after the last of both, and the end of
// the session after that of its followers.
//
// Bounds: the reader stops, and TCP makes the client wait, while a connection
// has Options.MaxPendingRequests without a written reply that wait for no other,
// or Options.MaxPendingBytes of requests that are not carried out. Calls that were
// taken wait to be started while Options.MaxQueuedBytes of replies wait for the
// client to read. No request fails for that. A client that reads nothing for
// Options.WriteTimeout while a reply is being written is dropped. Notifications
// wait for their turn before they are queued, while Options.MaxNotifiedBytes of
// them are: a follower then holds one chunk, and no program waits for it.
//
// Types: the params of a method, a command, a result and a notification are each
// a Go struct. Its tags say everything about its fields; object makes of them
// what decodes, and document what rpc.discover says.
//
// The layer is our own because no library has both rules. jrpc2 runs the calls
// of a batch at once and waits for a batch before the next message; jsonrpc2
// of sourcegraph has neither batches nor bounds.
//
// Ownership: the Server owns every goroutine here, and Shutdown waits for them.
// The http.Server that serves Handler belongs to the caller. The package knows
// sessions only through the interfaces of Options and translates the errors of
// package session to codes of the wire in one place, translate.
package rpc
