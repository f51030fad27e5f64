package test

import (
	"os"
	"strings"
	"testing"

	"codebeaker/runtime/shim"
)

// TestOnTheStockRuntime runs those tests on runc's shim as well that are about
// what the built-in runtimes do each in their way: how a program gets into its
// cgroup, to its streams or its terminal, to its end, and what is known of that.
// Tests that start servers of their own go through builtIn.
func TestOnTheStockRuntime(t *testing.T) {
	if os.Getenv("CODEBEAKER_RUNTIME") == shim.StockName {
		t.Skip("all tests run on it, as CODEBEAKER_RUNTIME says")
	}
	for _, tc := range []struct {
		name string
		test func(*testing.T)
	}{
		{"ProgramsGetWhatTheyWereGiven", TestProgramsGetWhatTheyWereGiven},
		{"LinesOfShellRunInBash", TestLinesOfShellRunInBash},
		{"LinesOfShellRunInShWithoutBash", TestLinesOfShellRunInShWithoutBash},
		{"LinesOfAnyLengthRun", TestLinesOfAnyLengthRun},
		{"ScriptsRunAsFromAShell", TestScriptsRunAsFromAShell},
		{"ArgumentsAreBoundedAsByTheKernel", TestArgumentsAreBoundedAsByTheKernel},
		{"OwnNameIsKnown", TestOwnNameIsKnown},
		{"PortsBelow1024AreTheSessions", TestPortsBelow1024AreTheSessions},
		{"TerminalHasAKind", TestTerminalHasAKind},
		{"ProgramsHaveTheirStreamsAndNothingElse", TestProgramsHaveTheirStreamsAndNothingElse},
		{"ProgramsStartInTheirCgroup", TestProgramsStartInTheirCgroup},
		{"StandardInputIsWhatTheClientSaid", TestStandardInputIsWhatTheClientSaid},
		{"InputThatNobodyReadsIsCancelled", TestInputThatNobodyReadsIsCancelled},
		{"OutputArrivesWhileTheProgramRuns", TestOutputArrivesWhileTheProgramRuns},
		{"OutputPastTheLimitIsCutAndSaysSo", TestOutputPastTheLimitIsCutAndSaysSo},
		{"TerminalIsARealOne", TestTerminalIsARealOne},
		{"TerminalIsTheUsersOwn", TestTerminalIsTheUsersOwn},
		{"SignaledProgramNamesItsSignal", TestSignaledProgramNamesItsSignal},
		{"SignalReachesTheProgramAlone", TestSignalReachesTheProgramAlone},
		{"ExitCodeThatLooksLikeASignalIsNone", TestExitCodeThatLooksLikeASignalIsNone},
		{"KillsForWantOfMemoryBelowAShellAreTold", TestKillsForWantOfMemoryBelowAShellAreTold},
		{"ProgramsSeeTheirMemoryLimit", TestProgramsSeeTheirMemoryLimit},
		{"UsageIsTheExecutionsOwn", TestUsageIsTheExecutionsOwn},
		{"FullFilesystemsInMemoryLeaveTheSessionAlive", TestFullFilesystemsInMemoryLeaveTheSessionAlive},
		{"DeadlineKillsEverythingTheProgramStarted", TestDeadlineKillsEverythingTheProgramStarted},
		{"CancelEndsAllThatTheProgramStarted", TestCancelEndsAllThatTheProgramStarted},
		{"BackgroundProgramDoesNotHoldTheReply", TestBackgroundProgramDoesNotHoldTheReply},
		{"CloseEndsWhatRuns", TestCloseEndsWhatRuns},
		{"SessionThatIsLostEndsItsExecutions", TestSessionThatIsLostEndsItsExecutions},
		{"FileCommandsFollowTheirHelpersEnd", TestFileCommandsFollowTheirHelpersEnd},
		{"StoppedFileHelperGoesOn", TestStoppedFileHelperGoesOn},
	} {
		t.Run(tc.name, tc.test)
	}
}

// onStock says whether a test runs for TestOnTheStockRuntime.
func onStock(t *testing.T) bool {
	t.Helper()
	return strings.HasPrefix(t.Name(), "TestOnTheStockRuntime/")
}
