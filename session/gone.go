package session

// mostGone is how many sessions are remembered that are gone.
const mostGone = 1024

// gone remembers why sessions closed, for those who ask late. It keeps the last
// ones.
type gone struct {
	reasons map[string]Reason
	order   []string
}

func (g *gone) add(id string, why Reason) {
	if g.reasons == nil {
		g.reasons = map[string]Reason{}
	}
	g.reasons[id] = why
	if g.order = append(g.order, id); len(g.order) > mostGone {
		delete(g.reasons, g.order[0])
		g.order = g.order[1:]
	}
}
