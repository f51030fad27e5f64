package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxMetrics bounds what is read of a server's metrics.
const maxMetrics = 4 << 20

// errNoPoolMetrics is of a server that does not say how full its pool is.
var errNoPoolMetrics = errors.New("the server's metrics say nothing of its pool")

// settle returns when the pool has as many members as it should.
func (s *server) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		full, err := s.poolFull(ctx)
		if err != nil || full {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait until the pool is full: %w", ctx.Err())
		}
	}
}

func (s *server) poolFull(ctx context.Context) (bool, error) {
	base, _, _ := strings.Cut(strings.TrimPrefix(s.url, "ws://"), "/")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+base+"/metrics", nil)
	if err != nil {
		return false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, fmt.Errorf("read the server's metrics: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false, fmt.Errorf("%w: %s", errNoPoolMetrics, resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxMetrics))
	if err != nil {
		return false, fmt.Errorf("read the server's metrics: %w", err)
	}
	return poolFull(string(text))
}

// poolFull reads metrics in Prometheus' text format: whether there are as many
// members as there should be.
func poolFull(metrics string) (bool, error) {
	var ready, starting, target float64
	found := false
	for line := range strings.Lines(metrics) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if !ok || !strings.HasPrefix(name, "codebeaker_pool_members") {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return false, fmt.Errorf("read the server's metrics: %w", err)
		}
		switch {
		case strings.HasPrefix(name, "codebeaker_pool_members_target{"):
			target += n
			found = true
		case strings.Contains(name, `state="ready"`):
			ready += n
		case strings.Contains(name, `state="starting"`):
			starting += n
		}
	}
	if !found {
		return false, errNoPoolMetrics
	}
	return ready >= target && starting == 0, nil
}
