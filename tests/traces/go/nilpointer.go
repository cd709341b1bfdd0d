package main

type node struct {
	next *node
	name string
}

func (n *node) last() string { return n.next.next.name }

func main() { println((&node{}).last()) }
