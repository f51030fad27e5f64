package session_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"codebeaker/session"
	"codebeaker/session/sessiontest"
)

func TestCreateEndsAtItsDeadlineWhateverItsStepsDo(t *testing.T) {
	for name, hold := range map[string]func(*sessiontest.Host) func(){
		"heeds":   (*sessiontest.Host).HoldCreates,
		"ignores": (*sessiontest.Host).HangCreates,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := sessiontest.NewHost()
				m := host.Manager(func(o *session.Options) { o.MaxSessions, o.CreateTimeout = 1, 7*time.Second })
				free := hold(host)
				for range 3 { // none keeps its place
					started := time.Now()
					_, err := m.Create(t.Context(), session.CreateRequest{Language: "python"})
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Fatalf("Create() = %v", err)
					}
					if took := time.Since(started); took != 7*time.Second {
						t.Errorf("it took %s", took)
					}
				}
				e, err := m.Run(t.Context(), session.RunRequest{Language: "python"})
				if err != nil {
					t.Fatal(err)
				}
				<-e.Done()
				if _, err := e.Outcome(); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("execution.run: %v", err)
				}
				free()
				pass(time.Hour)
				synctest.Wait()
				if n := host.Left(); n != 0 {
					t.Errorf("%d things are left", n)
				}
				if err := m.Shutdown(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestRefillEndsAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		m := host.Manager(func(o *session.Options) {
			o.CreateTimeout = time.Minute
			o.Pool = session.PoolOptions{Size: 2, Languages: map[string]int{"python": 2}}
		})
		free := host.HangCreates()
		m.StartPool(t.Context())
		pass(61 * time.Second)
		if n := m.Stats().Pool[0].Starting; n != 0 {
			t.Errorf("%d members are still being started", n)
		}
		free()
		pass(10 * time.Minute)
		synctest.Wait()
		if pool := m.Stats().Pool; len(pool) != 1 || pool[0].Ready != 2 || pool[0].Starting != 0 {
			t.Errorf("the pool is %+v", pool)
		}
		if err := m.Shutdown(t.Context()); err != nil || host.Left() != 0 {
			t.Errorf("Shutdown: %v, and %d things are left", err, host.Left())
		}
	})
}

func TestShutdownEndsWhatIsBeingCreated(t *testing.T) {
	for name, hold := range map[string]func(*sessiontest.Host) func(){
		"heeds":   (*sessiontest.Host).HoldCreates,
		"ignores": (*sessiontest.Host).HangCreates,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := sessiontest.NewHost()
				m := host.Manager(func(o *session.Options) {
					o.Pool = session.PoolOptions{Size: 1, Languages: map[string]int{"python": 1}}
				})
				free := hold(host)
				m.StartPool(t.Context())
				created := make(chan error, 1)
				go func() {
					_, err := m.Create(t.Context(), session.CreateRequest{Language: "python"})
					created <- err
				}()
				synctest.Wait()
				list, err := m.List(t.Context())
				if err != nil || len(list) != 1 || list[0].State != session.StateCreating {
					t.Fatalf("List() = %v, %v", list, err)
				}
				closed, watched := make(chan error, 1), make(chan error, 1)
				go func() { closed <- m.Close(t.Context(), list[0].ID) }()
				go func() {
					_, err := m.Closed(t.Context(), list[0].ID)
					watched <- err
				}()
				synctest.Wait()
				down := make(chan error, 1)
				go func() { down <- m.Shutdown(t.Context()) }()
				synctest.Wait()
				if err := <-created; !errors.Is(err, session.ErrShutdown) {
					t.Errorf("Create() = %v", err)
				}
				if err := <-closed; !errors.Is(err, session.ErrNotFound) {
					t.Errorf("Close() = %v", err)
				}
				if err := <-watched; !errors.Is(err, session.ErrNotFound) {
					t.Errorf("Closed() = %v", err)
				}
				free()
				if err := <-down; err != nil || host.Left() != 0 {
					t.Errorf("Shutdown: %v, and %d things are left", err, host.Left())
				}
			})
		})
	}
}

func TestSessionThatNobodyIsToldOfCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		m := host.Manager(nil)
		ctx, leave := context.WithCancel(t.Context())
		free := host.HangCreates()
		created := make(chan error, 1)
		go func() {
			_, err := m.Create(ctx, session.CreateRequest{Language: "python"})
			created <- err
		}()
		synctest.Wait()
		free()
		leave()
		if err := <-created; !errors.Is(err, context.Canceled) {
			t.Errorf("Create() = %v", err)
		}
		synctest.Wait()
		if list, err := m.List(t.Context()); err != nil || len(list) != 0 || host.Left() != 0 {
			t.Errorf("sessions %v, %v, and %d things are left", list, err, host.Left())
		}
	})
}

func TestProgramThatCannotStartLeavesNoFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		m := host.Manager(nil)
		info := create(t, m, session.CreateRequest{})
		no := errors.New("no")
		host.FailExecs(no)
		if _, err := m.Execute(t.Context(), info.ID, &session.Code{Code: []byte("x")}); !errors.Is(err, no) {
			t.Fatal(err)
		}
		synctest.Wait()
		if files := host.Containers()[0].Files(); len(files) != 0 {
			t.Errorf("it left %q", files)
		}
		if err := m.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestEveryCommandOfASessionIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := sessiontest.NewHost().Manager(nil)
		info := create(t, m, session.CreateRequest{})
		for n, cmd := range []session.Command{
			&session.WriteFile{Path: "a", Content: []byte("x")}, &session.ReadFile{Path: "a", Length: -1}, &session.Shell{Name: "exit"},
			&session.DeleteFile{Path: "nothing"},
		} {
			_, _ = m.Execute(t.Context(), info.ID, cmd) // one that fails counts, too
			if got, err := m.Get(t.Context(), info.ID); err != nil || got.ExecutionCount != n+1 {
				t.Errorf("after %d commands it counts %d, %v", n+1, got.ExecutionCount, err)
			}
		}
		if err := m.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// That a session is too busy to start a program is its own doing, and told so.
func TestStartThatTakesTooLongIsTheSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		m := host.Manager(nil)
		info := create(t, m, session.CreateRequest{})
		host.FailExecs(fmt.Errorf("start process: %w", context.DeadlineExceeded))
		_, err := m.Execute(t.Context(), info.ID, &session.Shell{Name: "exit"})
		if limit := (*session.LimitError)(nil); !errors.As(err, &limit) || limit.RetryAfter == 0 {
			t.Errorf("the command failed with %v", err)
		}
		if err := m.Close(t.Context(), info.ID); err != nil {
			t.Error(err)
		}
	})
}
