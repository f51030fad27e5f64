package shim

import (
	"context"
	"sync/atomic"

	eventstypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/protobuf"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/log"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"codebeaker/runtime/shim/direct"
)

// events publishes what happens, in the order in which it was sent: to the
// server where one is connected, which passes it on to its containerd, and to
// containerd itself otherwise.
type events struct {
	server  atomic.Pointer[caller]
	queue   chan any
	closing chan struct{}
	closed  chan struct{}
}

func newEvents() *events {
	return &events{queue: make(chan any, 128), closing: make(chan struct{}), closed: make(chan struct{})}
}

func (e *events) send(event any) {
	select {
	case e.queue <- event:
	case <-e.closing:
	}
}

// run publishes until close, and then what is left.
func (e *events) run(ctx context.Context, publisher shim.Publisher) {
	defer close(e.closed)
	ctx = context.WithoutCancel(ctx)
	defer publisher.Close()
	publish := func(event any) {
		topic := runtime.GetTopic(event)
		if e.tellServer(ctx, topic, event) {
			return
		}
		if err := publisher.Publish(ctx, topic, event); err != nil {
			log.G(ctx).WithError(err).Error("publish event")
		}
	}
	for {
		select {
		case event := <-e.queue:
			publish(event)
		case <-e.closing:
			for {
				select {
				case event := <-e.queue:
					publish(event)
				default:
					return
				}
			}
		}
	}
}

// tellServer says whether a server has the event.
func (e *events) tellServer(ctx context.Context, topic string, event any) bool {
	server := e.server.Load()
	namespace, ok := namespaces.Namespace(ctx)
	if server == nil || !ok {
		return false
	}
	content, err := typeurl.MarshalAnyToProto(event)
	if err != nil {
		return false
	}
	body, err := proto.Marshal(&types.Envelope{Timestamp: timestamppb.Now(), Namespace: namespace, Topic: topic, Event: content})
	m := direct.Message{Kind: direct.Event, Body: body}
	return err == nil && m.Fits() && server.say(m) == nil
}

// close returns when all that was sent is published. It is for the shim's end,
// which would otherwise come before the last event is out.
func (e *events) close(ctx context.Context) error {
	close(e.closing)
	select {
	case <-e.closed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func exitEvent(container, id string, pid int, e exit) *eventstypes.TaskExit {
	return &eventstypes.TaskExit{
		ContainerID: container, ID: id, Pid: uint32(pid), ExitStatus: e.status, ExitedAt: protobuf.ToTimestamp(e.at),
	}
}
