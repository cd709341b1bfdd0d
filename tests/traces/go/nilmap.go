package main

var counts map[string]int

func count(word string) { counts[word]++ }

func main() { count("one") }
