// A client of Server-Sent Events made with eventsource, and a server made with better-sse. Both run until
// their standard input ends.
'use strict';

const http = require('http');
const { EventSource } = require('eventsource');
const { createSession } = require('better-sse');

function main({ role, url }) {
  switch (role) {
    case 'server':
      serve();
      break;
    case 'client':
      follow(url);
      break;
    default:
      console.error(`unknown role ${role}`);
      process.exit(1);
  }
  process.stdin.on('end', () => process.exit()).resume();
}

// serve sends an event each millisecond, with its number for the ID, to those who have had the one before.
function serve() {
  const events = [];
  const sessions = new Set();
  const send = (session) => {
    for (; session.state.next < events.length; session.state.next++) {
      session.push(events[session.state.next], 'tick', String(session.state.next));
    }
  };
  setInterval(() => {
    events.push(events.length + '\nline'.repeat(events.length % 20));
    sessions.forEach(send);
  }, 1);
  const server = http.createServer(async (req, res) => {
    const session = await createSession(req, res, { retry: 1 });
    session.state.next = session.lastId === '' ? 0 : Number(session.lastId) + 1;
    sessions.add(session);
    session.on('disconnected', () => sessions.delete(session));
    send(session);
  });
  server.listen(0, '127.0.0.1', () => console.log(`listening on 127.0.0.1:${server.address().port}`));
}

// follow prints what it gets.
function follow(url) {
  const source = new EventSource(url);
  source.onopen = () => console.log('open');
  source.addEventListener('tick', ({ data }) => console.log(JSON.stringify(data)));
  source.onerror = ({ code, message }) => {
    if (source.readyState === EventSource.CLOSED) {
      console.log(`it gave up: ${code} ${message}`);
    }
  };
}

main(JSON.parse(process.argv[2]));
