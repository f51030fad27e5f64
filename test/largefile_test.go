package test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

const (
	largeFileBytes = 256 << 20
	largeChunk     = 4 << 20
	// largeFileGrowth is what the server may need more for the file, however
	// large that is: a few chunks, each as it came, decoded and encoded.
	largeFileGrowth = 64 << 20
)

// largeFileChunk is a chunk of the file by its number. Every other one is text.
func largeFileChunk(n int) []byte {
	if n%2 == 1 {
		line := fmt.Sprintf("line of chunk %d, é€😀 здравствуй 世界\n", n)
		text := strings.Repeat(line, largeChunk/len(line))
		return []byte(text + strings.Repeat(".", largeChunk-len(text)))
	}
	chunk := make([]byte, largeChunk)
	random := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = random.Read(chunk) // which never fails
	return chunk
}

func TestLargeFileInByChunksAndOutByRanges(t *testing.T) {
	s := private(t)
	b := s.session(t, nil)
	want := sha256.New()
	s.bounded(t, largeFileGrowth, func() {
		began := time.Now()
		for n := range largeFileBytes / largeChunk {
			chunk := largeFileChunk(n)
			want.Write(chunk)
			command := object{"type": "write_file", "path": "large", "mode": "Append", "content": string(chunk)}
			if n%2 == 0 {
				command["content"], command["encoding"] = base64.StdEncoding.EncodeToString(chunk), "base64"
			}
			if o := b.do(command); !o.Success || o.Result.Bytes != int64(len(chunk)) {
				t.Fatalf("chunk %d was answered with %+v", n, o)
			}
		}
		rate(t, "it was written with", largeFileBytes, time.Since(began))
	})
	b.do(object{"type": "copy_file", "source": "large", "destination": "copy"})
	b.do(object{"type": "move_file", "source": "copy", "destination": "moved"})
	if got := strings.Fields(b.sh("sha256sum moved").Stdout); len(got) != 2 || got[0] != fmt.Sprintf("%x", want.Sum(nil)) {
		t.Errorf("in the session its hash is %q; want %x", got, want.Sum(nil))
	}
	got := sha256.New()
	s.bounded(t, largeFileGrowth, func() {
		began := time.Now()
		offset := int64(0)
		for {
			// Ranges that do not begin where chunks do, nor where characters do.
			o := b.do(object{"type": "read_file", "path": "large", "offset": offset, "length": largeChunk + 12345})
			content := []byte(o.Result.Content)
			if o.Result.Encoding == "base64" {
				var err error
				if content, err = base64.StdEncoding.DecodeString(o.Result.Content); err != nil {
					t.Fatal(err)
				}
			}
			if int64(len(content)) != o.Result.Bytes || len(content) == 0 && offset != largeFileBytes {
				t.Fatalf("at %d came %d bytes of %d, as %s", offset, len(content), o.Result.Bytes, o.Result.Encoding)
			}
			if len(content) == 0 {
				break
			}
			got.Write(content)
			offset += int64(len(content))
		}
		rate(t, "it was read with", offset, time.Since(began))
	})
	if string(got.Sum(nil)) != string(want.Sum(nil)) {
		t.Errorf("read by ranges its hash is %x; want %x", got.Sum(nil), want.Sum(nil))
	}
}
