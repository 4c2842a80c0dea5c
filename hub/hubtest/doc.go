// Package hubtest is for tests of programs that use package hub with several processes: a [Bus] joins
// hubs in memory, and can be down. [TestBroker] tests a Broker.
package hubtest
