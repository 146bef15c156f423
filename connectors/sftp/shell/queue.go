package shell

// queue is first in, first out.
type queue struct {
	items []item
	first int
}

func (q *queue) push(it item) { q.items = append(q.items, it) }
func (q *queue) len() int     { return len(q.items) - q.first }

func (q *queue) pop() item {
	it := q.items[q.first]
	q.items[q.first] = item{}
	q.first++
	if q.first == len(q.items) {
		q.items, q.first = q.items[:0], 0
	} else if q.first >= 1024 && q.first*2 >= len(q.items) {
		q.items = append(q.items[:0], q.items[q.first:]...)
		q.first = 0
	}
	return it
}
