package images

import "strings"

// csharp is Mono in the image that Build makes, and a .NET SDK in one that is
// pulled: dotnet is used where an image has it.
func csharp() Language {
	return Language{
		Name: "csharp", Aliases: []string{"cs", "c#", "dotnet"}, versionEnv: "DOTNET_SDK_VERSION", recipe: csharpRecipe(),
		Program: Program{
			File:    ".main-*.cs",
			Compile: []string{"/bin/sh", "-c", csharpCompile(), "compile", "{file}", "{base}"},
			Made:    []string{"{base}.exe", "{base}.exe.mdb", dotnetBuilds + "{base}"},
			Run:     []string{"/bin/sh", "-c", dotnetSetup + csharpRun, "run", "{base}"},
			Install: []string{"/bin/sh", "-c", dotnetSetup + csharpInstall, "install"},
		},
	}
}

// csharpOffline is the variable that tells csharpInstall of no network.
const csharpOffline = "CODEBEAKER_OFFLINE"

// dotnetBuilds is the directory below which programs are built with dotnet, each
// in one named for its path. It has no project of a user's above it.
const dotnetBuilds = "/tmp/codebeaker"

// monoLibrary is a library, as mcs names it, and the package that has it.
type monoLibrary struct{ name, pkg string }

// monoLibraries are those that a program may use beside what mcs refers to by
// itself.
func monoLibraries() []monoLibrary {
	return []monoLibrary{
		{"Microsoft.CSharp", "libmono-microsoft-csharp4.0-cil"},
		{"System.ComponentModel.DataAnnotations", "libmono-system-componentmodel-dataannotations4.0-cil"},
		{"System.Data", "libmono-system-data4.0-cil"},
		{"System.IO.Compression", "libmono-system-io-compression4.0-cil"},
		{"System.IO.Compression.FileSystem", "libmono-system-io-compression-filesystem4.0-cil"},
		{"System.Net.Http", "libmono-system-net-http4.0-cil"},
		{"System.Numerics", "libmono-system-numerics4.0-cil"},
		{"System.Runtime.Serialization", "libmono-system-runtime-serialization4.0-cil"},
		{"System.Threading.Tasks.Dataflow", "libmono-system-threading-tasks-dataflow4.0-cil"},
		{"System.Xml.Linq", "libmono-system-xml-linq4.0-cil"},
	}
}

// monoDialect is what there is to say where mcs refuses syntax, which may be newer
// than it is.
const monoDialect = "This is the C# compiler of Mono, which knows C# 7.3 and nothing newer, such as records, " +
	"top-level statements or switch expressions. Use an image of the .NET SDK for those."

// csharpCompile compiles a file: $1 is its path, $2 that without extension. What
// dotnet says where nothing is wrong, such as its welcome, is nobody's.
func csharpCompile() string {
	var refs strings.Builder
	for _, l := range monoLibraries() {
		refs.WriteString(" -r:" + l.name)
	}
	return dotnetSetup + `if [ -z "$dotnet" ]; then
	failed=0
	said=$(mcs -nologo -unsafe -debug -langversion:latest -out:"$2.exe"` + refs.String() + ` "$1" 2>&1) || failed=1
	[ -z "$said" ] || printf '%s\n' "$said" >&2
	case $failed$said in
	1*"error CS1525:"* | 1*"error CS1514:"* | 1*"error CS1001:"* | 1*"error CS1014:"* | 1*"error CS1644:"* | 1*"error CS0453:"*)
		echo "` + monoDialect + `" >&2
		;;
	esac
	exit $failed
fi
dir=` + dotnetBuilds + `$2
mkdir -p "$dir"
[ -e "$project" ] && cp "$project" "$dir/program.csproj" || new_project >"$dir/program.csproj"
said=$(dotnet build "$dir/program.csproj" --nologo --verbosity quiet --output "$dir/out" "-p:ProgramFile=$1" \
	"-consoleLoggerParameters:ErrorsOnly;NoSummary" 2>&1) || {
	printf '%s\n' "$said" >&2
	exit 1
}
`
}

// csharpRun runs what csharpCompile made: $1 is the file's path without
// extension; a program's arguments follow.
const csharpRun = `base=$1
shift
if [ -z "$dotnet" ]; then
	exec mono --debug "$base.exe" "$@" # has lines in traces
fi
exec dotnet "` + dotnetBuilds + `$base/out/program.dll" "$@"
`

// csharpInstall adds packages of NuGet, each with its name or NAME@VERSION, to
// the project that programs are compiled with. Without a network they come from
// the workspace, and no source that it would wait for is asked.
const csharpInstall = `if [ -z "$dotnet" ]; then
	echo "C# has no packages here: the image is Mono's from Debian, which has no NuGet. Use an image of the .NET SDK instead." >&2
	exit 1
fi
mkdir -p "${project%/*}"
[ -e "$project" ] || new_project >"$project"
if [ -n "${` + csharpOffline + `:-}" ]; then
	echo '<configuration><packageSources><clear/><add key="workspace" value="'"$PWD"'"/></packageSources></configuration>'
else
	echo '<configuration/>'
fi >"${project%/*}/nuget.config"
for package; do
	set -- "${package%@*}"
	case $package in *@*) set -- "$@" --version "${package##*@}" ;; esac
	dotnet add "$project" package "$@" >"${project%/*}/log" 2>&1 || {
		cat "${project%/*}/log" >&2
		exit 1
	}
done
`

// dotnetSetup is what the scripts have in common. No process of a build stays
// for the next one, as it would keep the command that started it from ending.
const dotnetSetup = `set -eu
dotnet=$(command -v dotnet) || dotnet=
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 DOTNET_SKIP_FIRST_TIME_EXPERIENCE=1 \
	DOTNET_GENERATE_ASPNET_CERTIFICATE=false DOTNET_CLI_WORKLOAD_UPDATE_NOTIFY_DISABLE=1 \
	MSBUILDDISABLENODEREUSE=1 DOTNET_CLI_USE_MSBUILD_SERVER=0 UseSharedCompilation=false
[ -w "${HOME:-/}" ] || export HOME=/tmp
project=$HOME/.codebeaker/program.csproj
new_project() {
	cat <<'EOF'
<Project Sdk="Microsoft.NET.Sdk">
  <PropertyGroup>
    <OutputType>Exe</OutputType>
    <TargetFramework>net$(BundledNETCoreAppTargetFrameworkVersion)</TargetFramework>
    <TargetFramework Condition="$(BundledNETCoreAppTargetFrameworkVersion) &lt; 5">netcoreapp$(BundledNETCoreAppTargetFrameworkVersion)</TargetFramework>
    <AssemblyName>program</AssemblyName>
    <RootNamespace>program</RootNamespace>
    <ImplicitUsings>enable</ImplicitUsings>
    <AllowUnsafeBlocks>true</AllowUnsafeBlocks>
    <EnableDefaultItems>false</EnableDefaultItems>
    <UseAppHost>false</UseAppHost>
    <NuGetAudit>false</NuGetAudit>
  </PropertyGroup>
  <ItemGroup>
    <Compile Include="$(ProgramFile)" />
  </ItemGroup>
</Project>
EOF
}
`

func csharpRecipe() *recipe {
	packages := []string{"mono-mcs", "mono-runtime", "libmono-i18n-west4.0-cil"}
	for _, l := range monoLibraries() {
		packages = append(packages, l.pkg)
	}
	r := debian("mono-runtime", packages...)
	r.Customize += customizeMono
	return r
}

// customizeMono makes the native code that packages have mono make of their
// libraries the same in each build. It ends with a random id, which nothing
// reads (mono/mini/aot-compiler.c: generate_aotid), and has the name of a
// temporary file among its symbols.
const customizeMono = `for file in "$root"/usr/lib/mono/aot-cache/*/*.so; do
	file=${file#"$root"}
	chroot "$root" strip "$file"
	chroot "$root" objcopy --dump-section .data=/tmp/data "$file"
	truncate -s -16 "$root/tmp/data"
	truncate -s +16 "$root/tmp/data"
	chroot "$root" objcopy --update-section .data=/tmp/data "$file"
	rm "$root/tmp/data"
done
`
