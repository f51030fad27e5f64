package images

import "testing"

func TestLookupByNameAndAlias(t *testing.T) {
	c := NewCatalogue()
	for name, want := range map[string]string{
		"python": "python", "py": "python", "Python": "python",
		"javascript": "javascript", "js": "javascript", "node": "javascript", "NodeJS": "javascript",
		"go": "go", "golang": "go",
		"csharp": "csharp", "cs": "csharp", "C#": "csharp", "dotnet": "csharp",
	} {
		if l, ok := c.Lookup(name); !ok || l.Name != want {
			t.Errorf("Lookup(%q) is %q, %t; want %q", name, l.Name, ok, want)
		}
	}
	for _, name := range []string{"", "ruby", "python3", " python"} {
		if l, ok := c.Lookup(name); ok {
			t.Errorf("Lookup(%q) is %q; want nothing", name, l.Name)
		}
	}
}

func TestCatalogueIsTheCallers(t *testing.T) {
	c := NewCatalogue()
	c.Languages()[0] = Language{}
	if l, ok := c.Lookup("py"); !ok || l.recipe == nil {
		t.Error("a change to what Languages returned is in the catalogue")
	}
}

func TestNamesAreUnique(t *testing.T) {
	seen := make(map[string]bool)
	for _, l := range NewCatalogue().Languages() {
		for _, name := range append([]string{l.Name}, l.Aliases...) {
			if seen[name] {
				t.Errorf("two languages are called %q", name)
			}
			seen[name] = true
		}
	}
}
