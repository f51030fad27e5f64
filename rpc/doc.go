// Package rpc is the front of the server: JSON-RPC 2.0 over WebSocket.
//
// A message is the content of one text frame: a request, or a batch of them. A
// call is one request that is being carried out. A reply is what goes back for
// a message: one response, or an array with a response for each entry of the
// batch that has an id. A notification is a request without an id and gets no
// response, whatever becomes of it.
//
// Lifecycle of a connection: one goroutine reads messages and turns them into
// calls, one writes replies, and every call runs on a goroutine of its own.
// What has been received is carried out even if the client leaves; only the
// replies are dropped then. A connection is forgotten when its last call ended.
//
// Order: calls of one connection that name the same session run one at a time
// in the order of arrival, also within a batch. All other calls run at once.
//
// Bounds: the reader stops, and TCP makes the client wait, while a connection
// has Options.MaxPendingRequests without a written reply or
// Options.MaxPendingBytes of requests that are not carried out. Calls that were
// taken wait to be started while Options.MaxQueuedBytes of replies wait for the
// client to read. No request fails for that. A client that reads nothing for
// Options.WriteTimeout while a reply is being written is dropped.
//
// The layer is our own because no library has both rules. jrpc2 runs the calls
// of a batch at once and waits for a batch before the next message; jsonrpc2
// of sourcegraph has neither batches nor bounds.
//
// Ownership: the Server owns every goroutine here, and Shutdown waits for them.
// The http.Server that serves Handler belongs to the caller. The package knows
// sessions only through the Sessions interface and translates the errors of
// package session to codes of the wire in one place, wireErrorOf.
package rpc
