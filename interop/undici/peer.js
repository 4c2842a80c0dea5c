// The peer made with undici, whose WebSocket is that of Node. See README.md, one folder up, for what
// a peer does.
'use strict';

const { WebSocket } = require('undici');

const cannot = {
  server: 'undici is a client',
  fragments: 'undici does not send fragments',
  ping: 'undici does not send Pings',
  cut: 'undici has no way to cut a connection',
  noDeflate: 'undici always offers permessage-deflate',
  compress: 'undici inflates what it receives, and does not deflate what it sends',
};

function main({ role, url, urls = [url], subprotocols = [] }) {
  if (role === 'version') {
    console.log(`undici ${require('undici/package.json').version}, Node ${process.versions.node}`);
    console.log(JSON.stringify({ cannot }));
    return;
  }
  connect(urls, subprotocols);
  process.stdin.on('end', () => process.exit()).resume();
}

// connect connects to one URL after the other, says how it has ended, and ends.
function connect([url, ...rest], subprotocols) {
  if (url === undefined) process.exit();
  const socket = new WebSocket(url, subprotocols);
  socket.binaryType = 'arraybuffer';
  socket.onmessage = ({ data }) => modes[url.split('/').pop()](socket, data);
  socket.onerror = ({ error }) => console.error(error);
  socket.onclose = ({ code, reason }) => {
    console.log(`closed ${code} ${reason}`.trim());
    connect(rest, subprotocols);
  };
}

const modes = {
  echo(socket, data) {
    socket.send(data);
  },
  subprotocol(socket) {
    socket.send(socket.protocol);
  },
  close(socket, data) {
    const [code, ...reason] = data.split(' ');
    socket.close(Number(code), reason.join(' '));
  },
};

main(JSON.parse(process.argv[2]));
