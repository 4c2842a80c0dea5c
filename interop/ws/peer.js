// The peer made with ws. See README.md, one folder up, for what a peer does.
'use strict';

const WebSocket = require('ws');

function main({ role, url, deflate }) {
  const perMessageDeflate = deflate ? options(role, deflate) : false;
  switch (role) {
    case 'version':
      console.log(`ws ${require('ws/package.json').version}, Node ${process.versions.node}, zlib ${process.versions.zlib}`);
      return;
    case 'server':
      serve(perMessageDeflate);
      break;
    case 'client':
      echo(new WebSocket(url, { perMessageDeflate }), () => process.exit());
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

function serve(perMessageDeflate) {
  const server = new WebSocket.Server({ host: '127.0.0.1', port: 0, perMessageDeflate });
  server.on('listening', () => console.log(`listening on 127.0.0.1:${server.address().port}`));
  server.on('error', fail);
  server.on('connection', (socket) => echo(socket, () => {}));
}

// echo sends back what socket receives, until that is closed as it should.
function echo(socket, closed) {
  socket.on('message', (data, binary) => {
    const half = data.length >> 1;
    if (data.length % 7 === 0) {
      socket.send(data.subarray(0, half), { binary, fin: false });
      socket.send(data.subarray(half), { fin: true });
    } else {
      socket.send(data, { binary, compress: data.length % 11 !== 0 });
    }
  });
  socket.on('error', fail);
  socket.on('close', (code, reason) => (code === 1000 ? closed() : fail(`closed with ${code} ${reason}`)));
}

function fail(err) {
  console.error(err);
  process.exit(1);
}

main(JSON.parse(process.argv[2]));
