// ADDRESS SERVER PORT: forwards ADDRESS:PORT to SERVER:PORT, of connections whose first record is a ClientHello (RFC 8446 s.4, s.5.1).
import net from 'node:net';

const [, , address, server, port] = process.argv;
const counts = { passed: 0, refused: 0 };
const isHello = (head) => head.length >= 6 && head[0] === 22 && head[1] === 3 && head[5] === 1;

net.createServer((client) => {
  client.on('error', () => client.destroy());
  client.once('data', (head) => {
    if (!isHello(head)) {
      counts.refused += 1;
      client.destroy();
      return;
    }
    counts.passed += 1;
    const onward = net.connect(Number(port), server);
    client.setNoDelay(true);
    onward.setNoDelay(true);
    onward.write(head);
    client.pipe(onward);
    onward.pipe(client);
    onward.on('error', () => client.destroy());
    onward.on('close', () => client.destroy());
    client.on('close', () => onward.destroy());
  });
}).listen(Number(port), address, () => process.send({ ready: true }));
process.on('message', () => process.send(counts));
process.on('disconnect', () => process.exit(0));
