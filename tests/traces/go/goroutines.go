package main

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

type server struct{ name string }

func (s *server) handle(id int) {
	defer func() { _ = id }()
	if id == 3 {
		panic(fmt.Errorf("request %d: %w", id, errors.New("cannot go on")))
	}
	time.Sleep(time.Minute)
}

func main() {
	var group sync.WaitGroup
	s := &server{"one"}
	for id := 0; id < 4; id++ {
		group.Add(1)
		go func(id int) {
			defer group.Done()
			if id == 3 {
				time.Sleep(100 * time.Millisecond)
			}
			s.handle(id)
		}(id)
	}
	group.Wait()
}
