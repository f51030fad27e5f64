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
	r := &recipe{
		Base: baseRecipe{
			Format: 1, Epoch: 2, Suite: "s", Variant: "v", Packages: []string{"p"}, DpkgOptions: []string{"d"},
			Customize: "c", Private: []string{"p/"},
		},
		Packages: []string{"p"}, VersionOf: "p", DpkgOptions: []string{"d"}, Customize: "c", Env: []string{"e=1"}, Caches: []string{"c"},
	}
	const want = "sha256:30cd9b664f2c0acc8c26915086960f510745ac4aa5c0ab23b61d4788ae549b69"
	if got := r.digest(); got != want {
		t.Errorf("digest is %s; want %s", got, want)
	}
}

// TestRecipeDigestCoversEveryField changes one field after the other, so that
// one which is added later and left out of the digest is found.
func TestRecipeDigestCoversEveryField(t *testing.T) {
	var cover func(prefix string, r *recipe, v reflect.Value)
	want := pythonRecipe().digest()
	cover = func(prefix string, r *recipe, v reflect.Value) {
		for i := range v.NumField() {
			f, name := v.Field(i), prefix+v.Type().Field(i).Name
			was := reflect.ValueOf(f.Interface())
			switch f.Kind() {
			case reflect.String:
				f.SetString(f.String() + "x")
			case reflect.Int, reflect.Int64:
				f.SetInt(f.Int() + 1)
			case reflect.Slice:
				f.Set(reflect.Append(f, reflect.ValueOf("x")))
			case reflect.Struct:
				cover(name+".", r, f)
				continue
			default:
				t.Fatalf("field %s has kind %s, which this test cannot change", name, f.Kind())
			}
			if r.digest() == want {
				t.Errorf("the digest does not cover %s", name)
			}
			f.Set(was)
		}
	}
	r := pythonRecipe()
	cover("", r, reflect.ValueOf(r).Elem())
}

// TestLanguagesShareTheBase holds for what BuildAll makes once.
func TestLanguagesShareTheBase(t *testing.T) {
	for _, l := range NewCatalogue().Languages() {
		if !reflect.DeepEqual(l.recipe.Base, debianBase()) {
			t.Errorf("%s has a base of its own", l.Name)
		}
	}
}
