package images

import (
	"reflect"
	"testing"
)

func TestRecipeDigestIsStable(t *testing.T) {
	if a, b := pythonRecipe().digest(), pythonRecipe().digest(); a != b {
		t.Errorf("two digests of the same recipe: %s and %s", a, b)
	}
	// A digest that changes without the recipe calls images out of date that
	// are not.
	r := &recipe{Format: 1, Epoch: 2, Suite: "s", Variant: "v", Packages: []string{"p"}, VersionOf: "p", DpkgOptions: []string{"d"}, Customize: "c", Env: []string{"e=1"}}
	const want = "sha256:fd9a169fe98bdedf9e140e10ea453a9f65e1da53cef25518d5615d0a3dc255a9"
	if got := r.digest(); got != want {
		t.Errorf("digest is %s; want %s", got, want)
	}
}

// TestRecipeDigestCoversEveryField changes one field after the other, so that
// one which is added later and left out of the digest is found.
func TestRecipeDigestCoversEveryField(t *testing.T) {
	base := pythonRecipe().digest()
	for i := range reflect.TypeFor[recipe]().NumField() {
		r := pythonRecipe()
		f := reflect.ValueOf(r).Elem().Field(i)
		switch f.Kind() {
		case reflect.String:
			f.SetString(f.String() + "x")
		case reflect.Int, reflect.Int64:
			f.SetInt(f.Int() + 1)
		case reflect.Slice:
			f.Set(reflect.Append(f, reflect.ValueOf("x")))
		default:
			t.Fatalf("field %d has kind %s, which this test cannot change", i, f.Kind())
		}
		if r.digest() == base {
			t.Errorf("the digest does not cover %s", reflect.TypeFor[recipe]().Field(i).Name)
		}
	}
}
