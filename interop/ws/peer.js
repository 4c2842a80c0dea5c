// The peer made with ws. See README.md, one folder up, for what a peer does.
'use strict';

const WebSocket = require('ws');

function main({ role, url, urls = [url], deflate, subprotocols = [] }) {
  const perMessageDeflate = deflate ? options(role, deflate) : false;
  switch (role) {
    case 'version':
      console.log(`ws ${require('ws/package.json').version}, Node ${process.versions.node}, zlib ${process.versions.zlib}`);
      return;
    case 'server':
      serve(perMessageDeflate, subprotocols);
      break;
    case 'client':
      connect(urls, subprotocols, { perMessageDeflate });
      break;
    default:
      fail(`unknown role ${role}`);
  }
  process.stdin.on('end', () => process.exit()).resume();
}

function options(role, deflate) {
  const { serverMaxWindowBits = 15, clientMaxWindowBits = 15 } = deflate;
  const inflateBits = role === 'server' ? clientMaxWindowBits : serverMaxWindowBits;
  return {
    ...deflate,
    // Without context takeover, messages of less than 1024 bytes would not be compressed.
    threshold: 0,
    // zlib finds a distance beyond the window only if it also leads out of the chunk of
    // output under way. 64 bytes are the smallest chunk, and each takes a while.
    zlibInflateOptions: { chunkSize: 1 << (inflateBits - 3) },
  };
}

function serve(perMessageDeflate, subprotocols) {
  const handleProtocols = (offered) => subprotocols.find((name) => offered.has(name)) ?? false;
  const server = new WebSocket.Server({ host: '127.0.0.1', port: 0, perMessageDeflate, handleProtocols });
  server.on('listening', () => console.log(`listening on 127.0.0.1:${server.address().port}`));
  server.on('error', fail);
  server.on('connection', (socket, request) => attend(socket, request.url, () => {}));
}

// connect connects to one URL after the other, and ends.
function connect([url, ...rest], subprotocols, options) {
  if (url === undefined) process.exit();
  const socket = new WebSocket(url, subprotocols, options);
  attend(socket, url, () => connect(rest, subprotocols, options));
}

// attend does what url says with socket, and says how it has ended.
function attend(socket, url, over) {
  const mode = url.split('/').pop() || 'fragmentsBySeven';
  const failed = mode === 'fragmentsBySeven' ? fail : console.error;
  socket.on('message', (data, binary) => modes[mode](socket, data, binary));
  socket.on('pong', (data) => socket.send(`pong ${data}`));
  socket.on('error', failed);
  socket.on('close', (code, reason) => {
    console.log(`closed ${code} ${reason}`.trim());
    if (code !== 1000) failed(`closed with ${code} ${reason}`);
    over();
  });
}

const modes = {
  // Sends some messages in fragments, and some without compression.
  fragmentsBySeven(socket, data, binary) {
    const half = data.length >> 1;
    if (data.length % 7 === 0) {
      socket.send(data.subarray(0, half), { binary, fin: false });
      socket.send(data.subarray(half), { fin: true });
    } else {
      socket.send(data, { binary, compress: data.length % 11 !== 0 });
    }
  },
  echo(socket, data, binary) {
    socket.send(data, { binary });
  },
  fragments(socket, data, binary) {
    const third = Math.floor(data.length / 3);
    socket.send(data.subarray(0, third), { binary, fin: false });
    socket.send(data.subarray(third, 2 * third), { fin: false });
    socket.send(data.subarray(2 * third), { fin: true });
  },
  ping(socket, data) {
    socket.ping(data);
  },
  subprotocol(socket) {
    socket.send(socket.protocol);
  },
  close(socket, data) {
    const [code, ...reason] = data.toString().split(' ');
    socket.close(Number(code), reason.join(' '));
  },
  cut(socket) {
    socket.terminate();
  },
};

function fail(err) {
  console.error(err);
  process.exit(1);
}

main(JSON.parse(process.argv[2]));
