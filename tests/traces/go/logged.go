package main

import (
	"log"
	"runtime/debug"
)

func main() {
	log.Print("one")
	log.Printf("caught: %v\n%s", "something", debug.Stack())
	log.Print("two")
	debug.SetTraceback("system")
	debug.SetPanicOnFault(false)
	panic("at the end")
}
