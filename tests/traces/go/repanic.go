package main

import (
	"errors"
	"fmt"
	"log"
)

func work() {
	defer func() {
		if thrown := recover(); thrown != nil {
			panic(fmt.Sprintf("while mending: %v", thrown))
		}
	}()
	panic(errors.New("broken"))
}

func main() {
	log.Print("about to work")
	work()
}
