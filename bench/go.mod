module github.com/tidewire/websocket/bench

go 1.26

require (
	github.com/klauspost/compress v1.20.3
	github.com/tidewire/websocket v0.0.0-00010101000000-000000000000
)

replace github.com/tidewire/websocket => ../
