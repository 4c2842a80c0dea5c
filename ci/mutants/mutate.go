package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
)

// A mutant is a package in which one condition
// always holds, or never, whatever it says.
type mutant struct {
	id        int // greater than 0
	pos       token.Position
	function  string
	condition string
	always    bool
}

func (m mutant) String() string {
	return fmt.Sprintf("%s:%d %s", m.pos.Filename, m.pos.Line, m.change())
}

// change says what m does differently.
func (m mutant) change() string {
	when := "never"
	if m.always {
		when = "always"
	}
	return fmt.Sprintf("%s: %s if %s", m.function, when, m.condition)
}

// mutate returns src with each condition of the named functions made to ask whether it is
// the disabled one, and the mutants that this makes, numbered from first.
//
// The conditions are those of switch statements and of if statements that end in a return:
// the mutants do not take that way. Where one is a disjunction, each of its terms counts by
// itself. In a function that returns a bool and nothing else, the terms of what it returns
// are conditions as well. The mutants of one in a conjunction do not ask for it.
func mutate(name string, src []byte, functions []string, first int) ([]byte, []mutant, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, nil, err
	}
	m := &mutator{fset: fset, src: src, next: first}
	missing := slices.Clone(functions)
	for _, decl := range file.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || !slices.Contains(functions, functionName(fn)) {
			continue
		}
		m.function = functionName(fn)
		m.predicate = isPredicate(fn)
		missing = slices.DeleteFunc(missing, func(name string) bool { return name == m.function })
		ast.Inspect(fn.Body, m.visit)
	}
	if len(missing) > 0 {
		return nil, nil, fmt.Errorf("%s: no function %s", name, strings.Join(missing, ", "))
	}
	if m.err != nil {
		return nil, nil, m.err
	}
	return m.apply(), m.mutants, nil
}

// functionName returns F for a function and T.F for a method of T or *T.
func functionName(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return fn.Name.Name
	}
	recv := fn.Recv.List[0].Type
	if star, ok := recv.(*ast.StarExpr); ok {
		recv = star.X
	}
	return fmt.Sprintf("%s.%s", recv, fn.Name)
}

// isPredicate reports whether fn returns a bool and nothing else.
func isPredicate(fn *ast.FuncDecl) bool {
	results := fn.Type.Results
	if results.NumFields() != 1 {
		return false
	}
	t, ok := results.List[0].Type.(*ast.Ident)
	return ok && t.Name == "bool"
}

type mutator struct {
	fset      *token.FileSet
	src       []byte
	function  string // the one being visited
	predicate bool   // whether it is one
	next      int    // id of the next mutant
	mutants   []mutant
	inserts   []insert
	err       error
}

// An insert is text to be put at an offset of the source.
type insert struct {
	offset int
	text   string
}

func (m *mutator) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.IfStmt:
		if endsInReturn(n.Body) {
			m.disableTerms(n.Cond)
		}
	case *ast.ReturnStmt:
		if m.predicate {
			m.weakenTerms(n.Results[0])
		}
	case *ast.SwitchStmt:
		m.visitSwitch(n)
	}
	return true
}

func endsInReturn(b *ast.BlockStmt) bool {
	if len(b.List) == 0 {
		return false
	}
	_, ok := b.List[len(b.List)-1].(*ast.ReturnStmt)
	return ok
}

// visitSwitch disables the cases of s. If s has a tag, that goes into a variable,
// and the cases compare with it:
//
//	switch tag := x; {
//	case tag == (1):
func (m *mutator) visitSwitch(s *ast.SwitchStmt) {
	compare := ""
	if s.Tag != nil {
		if s.Init != nil {
			m.err = fmt.Errorf("%v: switch with both an initialization and a tag", m.fset.Position(s.Pos()))
			return
		}
		tag := fmt.Sprintf("tag%d", m.next)
		m.insert(s.Tag.Pos(), tag+" := ")
		m.insert(s.Tag.End(), ";")
		compare = tag + " == "
	}
	for _, clause := range s.Body.List {
		for _, x := range clause.(*ast.CaseClause).List {
			if s.Tag != nil {
				m.disable(x, compare)
			} else {
				m.disableTerms(x)
			}
		}
	}
}

// disableTerms disables each term of the disjunction x.
func (m *mutator) disableTerms(x ast.Expr) {
	if or, ok := binary(x, token.LOR); ok {
		m.disableTerms(or.X)
		m.disableTerms(or.Y)
		return
	}
	m.disable(x, "")
}

// weakenTerms does the same for what a predicate returns, and goes into conjunctions, of
// whose terms it makes mutants in which they always hold.
func (m *mutator) weakenTerms(x ast.Expr) {
	if or, ok := binary(x, token.LOR); ok {
		m.weakenTerms(or.X)
		m.weakenTerms(or.Y)
	} else if and, ok := binary(x, token.LAND); ok {
		m.requireLess(and.X)
		m.requireLess(and.Y)
	} else if _, constant := x.(*ast.Ident); !constant {
		m.disable(x, "")
	}
}

func (m *mutator) requireLess(x ast.Expr) {
	if or, ok := binary(x, token.LOR); ok {
		m.weakenTerms(or)
	} else if and, ok := binary(x, token.LAND); ok {
		m.weakenTerms(and)
	} else {
		m.mutate(x, "(disabledRule == %d || (", true)
	}
}

func binary(x ast.Expr, op token.Token) (*ast.BinaryExpr, bool) {
	b, ok := ast.Unparen(x).(*ast.BinaryExpr)
	return b, ok && b.Op == op
}

// disable makes a mutant in which x never holds. compare is what x is compared with, if
// it is no condition by itself.
func (m *mutator) disable(x ast.Expr, compare string) {
	m.mutate(x, "(disabledRule != %d && "+compare+"(", false)
}

// mutate makes a mutant by opening two parentheses before x and closing them behind.
// open is formatted with its id.
func (m *mutator) mutate(x ast.Expr, open string, always bool) {
	m.insert(x.Pos(), fmt.Sprintf(open, m.next))
	m.insert(x.End(), "))")
	m.mutants = append(m.mutants, mutant{
		id:        m.next,
		pos:       m.fset.Position(x.Pos()),
		function:  m.function,
		condition: m.text(x),
		always:    always,
	})
	m.next++
}

func (m *mutator) insert(pos token.Pos, text string) {
	m.inserts = append(m.inserts, insert{m.fset.Position(pos).Offset, text})
}

func (m *mutator) text(x ast.Expr) string {
	return string(m.src[m.fset.Position(x.Pos()).Offset:m.fset.Position(x.End()).Offset])
}

func (m *mutator) apply() []byte {
	slices.SortStableFunc(m.inserts, func(a, b insert) int { return a.offset - b.offset })
	var out []byte
	done := 0
	for _, in := range m.inserts {
		out = append(out, m.src[done:in.offset]...)
		out = append(out, in.text...)
		done = in.offset
	}
	return append(out, m.src[done:]...)
}
