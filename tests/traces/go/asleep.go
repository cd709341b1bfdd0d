package main

import "sync"

func main() {
	var group sync.WaitGroup
	lines := make(chan string)
	for at := 0; at < 2; at++ {
		group.Add(1)
		go func() {
			defer group.Done()
			lines <- "nobody reads"
		}()
	}
	group.Wait()
}
