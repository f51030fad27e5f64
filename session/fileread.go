package session

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/pkg/sftp"

	"codebeaker/runtime/agent"
)

// readFile carries out ReadFile.
func (s *session) readFile(ctx context.Context, cmd *ReadFile) (*ReadFileResult, error) {
	name, err := sessionPath("command.path", cmd.Path)
	if err != nil {
		return nil, err
	}
	if cmd.Offset < 0 {
		return nil, &InvalidError{Field: "command.offset", Takes: "a whole number of bytes from 0 on"}
	}
	var content []byte
	err = s.withFiles(ctx, paths{path: cmd.Path}, func(_ context.Context, client *fileClient) error {
		// Before Open: opening a FIFO waits for a writer.
		info, err := statRegular(client, name, cmd.Path)
		if err != nil {
			return err
		}
		file, err := client.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		content, err = readRange(file, cmd, info.Size(), s.opts.MaxFileBytes)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &ReadFileResult{Path: cmd.Path, Content: content}, nil
}

// readRange reads what cmd asks for, at most limit bytes. The size is what the
// session says it is; files of /proc say zero and have more.
func readRange(file *sftp.File, cmd *ReadFile, size, limit int64) ([]byte, error) {
	tooLarge := &PathError{Path: cmd.Path, Reason: fmt.Sprintf("too large: one read returns at most %d bytes; read ranges with offset and length", limit)}
	most := limit + 1 // one more tells that there is more
	if cmd.Length >= 0 {
		most = min(most, cmd.Length)
	}
	// What is to be expected comes in one piece, many packets at a time.
	expected := min(max(size-cmd.Offset, 0), most)
	if expected > limit {
		return nil, tooLarge
	}
	buf := make([]byte, expected)
	n, err := file.ReadAt(buf, cmd.Offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	buf = buf[:n]
	if err == nil && int64(n) < most {
		// To the true end, of a file that grew or never told its size.
		if _, err := file.Seek(cmd.Offset+int64(n), io.SeekStart); err != nil {
			return nil, err
		}
		more, err := io.ReadAll(io.LimitReader(bufio.NewReaderSize(plainReader{file}, agent.MaxPacket), most-int64(n)))
		if err != nil {
			return nil, err
		}
		buf = append(buf, more...)
	}
	if int64(len(buf)) > limit {
		return nil, tooLarge
	}
	return buf, nil
}

// plainReader hides a file's WriteTo, which trusts its size.
type plainReader struct{ io.Reader }
