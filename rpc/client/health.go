package client

import (
	"context"
	"fmt"
	"net/http"
)

// Healthy asks the server at baseURL, such as "http://127.0.0.1:5000", whether
// it serves.
func Healthy(ctx context.Context, baseURL string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, baseURL+"/health/ready", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask %s for its health: %s", baseURL, resp.Status)
	}
	return nil
}
