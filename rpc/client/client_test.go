package client

import "testing"

// What is cut is what the message says; what is not is left to encoding/json.
func TestCutResult(t *testing.T) {
	for text, want := range map[string]string{
		`{"jsonrpc":"2.0","id":12,"result":{"a":"}"}}`:                                                    `{"a":"}"}`,
		`{"jsonrpc":"2.0","id":12,"result":null}`:                                                         `null`,
		`{"jsonrpc":"2.0","id":12,"error":{"code":1,"message":"","data":{"result":1,"id":2,"result":3}}}`: "",
		`{"jsonrpc":"2.0","method":"execution.output","params":{"text":",\"result\":"}}`:                  "",
		`{"jsonrpc":"2.0","id":"12","result":1}`:                                                          "",
		`{"jsonrpc":"2.0","id":12345678901234567890,"result":1}`:                                          "",
		`{"jsonrpc":"2.0","id":123456789012345678901,"result":1}`:                                         "",
		`{"jsonrpc":"2.0","id":12,"result":1`:                                                             "",
		`{"id":12,"jsonrpc":"2.0","result":1}`:                                                            "",
		`{"jsonrpc":"2.0","id":12}`:                                                                       "",
	} {
		id, result, ok := cutResult([]byte(text))
		if ok != (want != "") || ok && (id != 12 || string(result) != want) {
			t.Errorf("%s: cut %d %s, %v", text, id, result, ok)
		}
	}
}
