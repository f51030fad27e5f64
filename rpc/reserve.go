package rpc

import "context"

// reserve takes the memory for a reply of up to so many bytes from the budgets before
// the reply is made. It waits until there is as much.
//
// The replies of a batch are held until the last of them is there. So a batch reserves
// once for all that it may be: two batches that take a part after another could each
// wait for what the other has.
func (from *caller) reserve(ctx context.Context, bytes int64) error {
	if bytes <= shortMessage {
		return nil
	}
	f := from.frame
	if !f.batch {
		taken, err := from.takeReply(ctx, bytes)
		from.reserved = taken
		return err
	}
	select {
	case f.reserving <- struct{}{}:
		defer func() { <-f.reserving }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if f.reserved.Load() > 0 {
		return nil
	}
	taken, err := from.takeReply(ctx, from.srv.opts.MaxQueuedBytes)
	if err == nil {
		f.reserved.Store(taken)
	}
	return err
}

// takeReply takes from the budget of the connection and from that of the server.
func (c *conn) takeReply(ctx context.Context, bytes int64) (int64, error) {
	own, ok := c.replies.take(bytes, ctx.Done())
	if !ok {
		return 0, ctx.Err()
	}
	taken, ok := c.srv.replies.take(own, ctx.Done())
	if !ok {
		c.replies.give(own)
		return 0, ctx.Err()
	}
	c.replies.give(own - taken)
	return taken, nil
}

// addReply adds a response to what is held, in place of what was reserved for it. It
// returns false if the batch's reservation covers it.
func (from *caller) addReply(response []byte) bool {
	if from.frame.reserved.Load() > 0 {
		return false
	}
	more := int64(len(response)) - from.reserved
	from.conn.replies.add(more)
	from.srv.replies.add(more)
	return true
}
