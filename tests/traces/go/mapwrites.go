package main

func main() {
	counts := map[int]int{}
	for at := 0; at < 4; at++ {
		go func(at int) {
			for {
				counts[at]++
			}
		}(at)
	}
	select {}
}
