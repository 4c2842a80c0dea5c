package bench

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"strings"
	"testing"
)

// migratingVariables are those that the cells of docs/MIGRATING.md have.
const migratingVariables = `c *websocket.Conn, ctx context.Context, p []byte, v any, d time.Duration, t time.Time, w http.ResponseWriter,
	r *http.Request, h http.Header, url string, err error`

// migratingImports are the imports of a cell, if it uses them.
func migratingImports(library, wsjson string) string {
	return fmt.Sprintf("import (\n\t\"context\"\n\t\"crypto/tls\"\n\t\"errors\"\n\t\"net\"\n\t\"net/http\"\n\t\"strings\"\n\t\"sync\"\n\t\"time\"\n\n\twebsocket %q\n\t%s\n)\n", library, wsjson)
}

// Each cell with code compiles, with the library that its column is about.
func TestMigrating(t *testing.T) {
	text, err := os.ReadFile("../docs/MIGRATING.md")
	if err != nil {
		t.Fatal(err)
	}
	const ours = "github.com/tidewire/websocket"
	libraries := map[string]string{"gorilla/websocket": "github.com/gorilla/websocket", "coder/websocket": "github.com/coder/websocket"}
	fset := token.NewFileSet()
	build.Default.CgoEnabled = false // which would run a compiler of C
	packages := importer.ForCompiler(fset, "source", nil)
	library, rows := "", map[string]int{}
	for number, line := range strings.Split(string(text), "\n") {
		cells := strings.Split(line, " | ")
		if len(cells) < 2 || !strings.HasPrefix(line, "|") {
			continue
		}
		if name := strings.TrimPrefix(cells[0], "| "); libraries[name] != "" {
			library = libraries[name]
			continue
		}
		rows[library]++
		for column, path := range []string{library, ours} {
			code, ok := strings.CutPrefix(strings.TrimPrefix(cells[column], "| "), "`")
			code, closed := strings.CutSuffix(code, "`")
			if !ok || !closed {
				t.Errorf("line %d: %q is no code", number+1, cells[column])
				continue
			}
			if err := compiles(fset, packages, path, code); err != nil {
				t.Errorf("line %d: %v\n%s", number+1, err, code)
			}
		}
	}
	for name, library := range libraries {
		if rows[library] < 20 {
			t.Errorf("%d rows for %s", rows[library], name)
		}
	}
}

// compiles reports what is wrong with code that imports the library at path.
func compiles(fset *token.FileSet, packages types.Importer, path, code string) error {
	json := `"` + path + `/wsjson"`
	if !strings.Contains(code, "wsjson.") {
		json = ""
	}
	source := "package row\n" + migratingImports(path, json) + "func row(" + migratingVariables + ") {\n{\n" + code + "\n}\n}\n"
	file, err := parser.ParseFile(fset, "row.go", source, 0)
	if err != nil {
		return err
	}
	var first error
	config := types.Config{Importer: packages, Error: func(err error) {
		if e := err.(types.Error); !e.Soft && first == nil { // what is not used is no matter
			first = err
		}
	}}
	config.Check("row", fset, []*ast.File{file}, nil)
	return first
}
