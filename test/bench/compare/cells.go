package compare

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// key names a cell.
type key struct {
	measure Measure
	mode    Mode
	atOnce  int
	subject string
}

// cells hold the samples of all rounds.
type cells struct {
	plan    Plan
	samples map[key][][]sample
	pooled  map[key]int // of the sandboxes that were created
	spells  map[key][]spell
	small   []byte
	large   []byte
	// say tells of failures while there is still time to look.
	say func(format string, args ...any)
}

func newCells(plan Plan, say func(format string, args ...any)) *cells {
	return &cells{
		plan: plan, say: say, samples: map[key][][]sample{}, pooled: map[key]int{}, spells: map[key][]spell{},
		small: []byte(strings.Repeat("0123456789abcdef", smallBytes/16)),
		large: []byte(strings.Repeat("0123456789abcde\n", largeBytes/16)),
	}
}

// add appends the samples of a round.
func (c *cells) add(s *contestant, m Measure, mode Mode, atOnce int, samples []sample) {
	k := key{m, mode, atOnce, s.Name}
	c.samples[k] = append(c.samples[k], samples)
	if err := firstError(m, samples); err != nil {
		c.say("%s failed, %s, %d at once: %v", s.Name, mode, atOnce, err)
	}
}

// work is what is done in a sandbox, and checks what came of it.
func (c *cells) work(box Sandbox) map[Measure]func(ctx context.Context, i int) error {
	printed := func(text string, err error) error {
		if err == nil && text != "20\n" {
			err = fmt.Errorf("it printed %.40q and not %q", text, "20\n")
		}
		return err
	}
	read := func(name string, want []byte) func(ctx context.Context, i int) error {
		return func(ctx context.Context, _ int) error {
			got, err := box.Read(ctx, name)
			if err == nil && string(got) != string(want) {
				err = fmt.Errorf("%d bytes came back that are not the %d that were written", len(got), len(want))
			}
			return err
		}
	}
	return map[Measure]func(ctx context.Context, i int) error{
		Echo:       func(ctx context.Context, _ int) error { return printed(box.Run(ctx, "echo", "20")) },
		Print:      func(ctx context.Context, _ int) error { return printed(python(ctx, box, "print(10 * 2)")) },
		WriteSmall: func(ctx context.Context, i int) error { return box.Write(ctx, fmt.Sprintf("small%d", i), c.small) },
		ReadSmall:  read("small0", c.small),
		WriteLarge: func(ctx context.Context, _ int) error { return box.Write(ctx, "large", c.large) },
		ReadLarge:  read("large", c.large),
	}
}

// warmUp does everything that is measured, without measuring it, so that
// connections are open and files are in memory.
func (c *cells) warmUp(ctx context.Context, s *contestant) error {
	box, err := s.Create(ctx)
	if err != nil {
		return fmt.Errorf("create a first sandbox: %w", err)
	}
	work := c.work(box)
	var errs []error
	if !s.NewOnly {
		for _, m := range measures() {
			if f := work[m]; f != nil {
				errs = append(errs, firstError(m, pace(ctx, Sequential, 1, 0, timed(f))))
			}
		}
	}
	errs = append(errs, firstError(Echo, pace(ctx, Burst, c.plan.most(), 0, timed(work[Echo]))))
	return errors.Join(append(errs, remove(context.WithoutCancel(ctx), box))...)
}

// remove closes a sandbox and returns when it is gone, so that what comes next
// has the host for itself.
func remove(ctx context.Context, box Sandbox) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	w, err := newWatch(box.Traces())
	if err != nil {
		return errors.Join(err, box.Delete(ctx))
	}
	defer w.close()
	if err := box.Delete(ctx); err != nil {
		return err
	}
	return w.wait(ctx, watchInterval(1))
}

func firstError(m Measure, samples []sample) error {
	for _, one := range samples {
		if one.err != nil {
			return fmt.Errorf("%s: %w", m, one.err)
		}
	}
	return nil
}

// round measures a subject once in every way. What fails is a sample; an error
// is what keeps the round from going on.
func (c *cells) round(ctx context.Context, s *contestant) error {
	if !s.NewOnly {
		if err := c.programs(ctx, s); err != nil {
			return err
		}
	}
	if s.Floor {
		return nil
	}
	for range c.plan.Creates {
		if err := c.lives(ctx, s, Sequential, 1); err != nil {
			return err
		}
	}
	for _, n := range c.plan.AtOnce {
		if err := c.lives(ctx, s, Burst, n); err != nil {
			return err
		}
	}
	if most := c.plan.most(); most > 1 {
		return c.lives(ctx, s, Staggered, most)
	}
	return ctx.Err()
}

// programs measures what is done in one sandbox.
func (c *cells) programs(ctx context.Context, s *contestant) (retErr error) {
	box, err := s.Create(ctx)
	if err != nil {
		return fmt.Errorf("create a sandbox to run programs in: %w", err)
	}
	defer func() {
		if err := remove(context.WithoutCancel(ctx), box); err != nil && retErr == nil {
			retErr = fmt.Errorf("close the sandbox that programs ran in: %w", err)
		}
	}()
	work := c.work(box)
	for _, m := range measures() {
		f := work[m]
		if f == nil {
			continue
		}
		n := c.plan.Programs
		large := m == WriteLarge || m == ReadLarge
		switch {
		case m == WriteSmall || m == ReadSmall:
			n = c.plan.Files
		case large:
			n = 1
		}
		if !large {
			// The first of a sandbox may start what the others find.
			if err := firstError(m, pace(ctx, Sequential, 1, 0, timed(f))); err != nil {
				return err
			}
		}
		c.add(s, m, Sequential, 1, pace(ctx, Sequential, n, 0, timed(f)))
		if large {
			continue
		}
		for _, k := range c.plan.AtOnce {
			for range c.plan.Bursts {
				if err := c.burst(ctx, s, m, k, timed(f)); err != nil {
					return err
				}
			}
		}
		if most := c.plan.most(); most > 1 && (m == Echo || m == Print) {
			c.add(s, m, Staggered, most, pace(ctx, Staggered, most, c.plan.Gap, timed(f)))
		}
	}
	return ctx.Err()
}

// burst does something n times at one time.
func (c *cells) burst(ctx context.Context, s *contestant, m Measure, n int, do func(ctx context.Context, i int) (time.Duration, error)) error {
	var samples []sample
	took, err := spelled(func() { samples = pace(ctx, Burst, n, 0, do) })
	c.add(s, m, Burst, n, samples)
	k := key{m, Burst, n, s.Name}
	c.spells[k] = append(c.spells[k], took)
	return err
}

// lives creates n sandboxes and closes them, both in the mode.
func (c *cells) lives(ctx context.Context, s *contestant, mode Mode, n int) (retErr error) {
	if s.settle != nil {
		if err := s.settle(ctx); err != nil {
			return err
		}
	}
	boxes := make([]Sandbox, n)
	c.add(s, Create, mode, n, pace(ctx, mode, n, c.plan.Gap, timed(func(ctx context.Context, i int) (err error) {
		boxes[i], err = s.Create(ctx)
		return err
	})))
	for _, box := range boxes {
		if p, ok := box.(interface{ Pooled() bool }); ok && p.Pooled() {
			c.pooled[key{Create, mode, n, s.Name}]++
		}
	}
	return c.ends(ctx, s, mode, n, boxes)
}

// ends closes sandboxes, those that are nil left out. It does so as well where
// ctx has ended, and then measures nothing.
func (c *cells) ends(ctx context.Context, s *contestant, mode Mode, n int, boxes []Sandbox) error {
	watches := make([]*watch, 0, n)
	defer func() {
		for _, w := range watches {
			w.close()
		}
	}()
	var there []Sandbox
	for _, box := range boxes {
		if box == nil {
			continue
		}
		there = append(there, box)
		w, err := newWatch(box.Traces())
		if err != nil {
			return errors.Join(err, deleteAll(ctx, boxes))
		}
		watches = append(watches, w)
	}
	gone := make([]sample, len(there))
	live := context.WithoutCancel(ctx)
	closed := pace(live, mode, len(there), c.plan.Gap, func(ctx context.Context, i int) (time.Duration, error) {
		began := time.Now()
		err := there[i].Delete(ctx)
		answered := time.Since(began)
		if gone[i].err = err; err == nil {
			gone[i].err = watches[i].wait(ctx, watchInterval(len(there)))
			gone[i].took = time.Since(began)
		}
		return answered, err
	})
	c.add(s, Close, mode, n, closed)
	c.add(s, Gone, mode, n, gone)
	return ctx.Err()
}

func deleteAll(ctx context.Context, boxes []Sandbox) error {
	samples := pace(context.WithoutCancel(ctx), Burst, len(boxes), 0, timed(func(ctx context.Context, i int) error {
		if boxes[i] == nil {
			return nil
		}
		return boxes[i].Delete(ctx)
	}))
	return firstError(Close, samples)
}
