package engine

import "testing"

func TestStockCollectionIsContainerdsOwn(t *testing.T) {
	for _, stock := range []bool{false, true} {
		_, ours := serverConfig(Options{Root: "/r", State: "/s", StockCollection: stock}).Plugins[gcPlugin]
		if ours == stock {
			t.Errorf("StockCollection %v: collection is configured: %v", stock, ours)
		}
	}
}
