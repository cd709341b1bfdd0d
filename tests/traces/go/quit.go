package main

import (
	"os"
	"syscall"
	"time"
)

func main() {
	go func() { time.Sleep(time.Minute) }()
	syscall.Kill(os.Getpid(), syscall.SIGQUIT)
	time.Sleep(time.Minute)
}
