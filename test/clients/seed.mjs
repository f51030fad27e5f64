// The original document's Python example, with npm's ws: create, write, run,
// close. What its comments leave out, waiting for an answer before its id is
// used, is added; the requests are as written there.
import WebSocket from 'ws';

const ws = new WebSocket(process.argv[2]);
const answers = new Map();
ws.on('message', (data) => {
  const answer = JSON.parse(data);
  answers.get(answer.id)(answer);
});
const call = (request) => new Promise((resolve) => {
  answers.set(request.id, resolve);
  ws.send(JSON.stringify(request));
});

ws.on('open', async () => {
  const created = await call({
    jsonrpc: '2.0',
    id: 1,
    method: 'session.create',
    params: { language: 'python' }
  });
  const sessionId = created.result.sessionId;

  await call({
    jsonrpc: '2.0',
    id: 2,
    method: 'session.execute',
    params: {
      sessionId,
      command: {
        type: 'write_file',
        path: '/workspace/script.py',
        content: 'x = 10\nprint(x * 2)'
      }
    }
  });

  const ran = await call({
    jsonrpc: '2.0',
    id: 3,
    method: 'session.execute',
    params: {
      sessionId,
      command: {
        type: 'execute_shell',
        commandName: 'python3',
        args: ['/workspace/script.py']
      }
    }
  });

  const closed = await call({
    jsonrpc: '2.0',
    id: 4,
    method: 'session.close',
    params: { sessionId }
  });
  console.log(JSON.stringify({ stdout: ran.result.result.stdout, closed: closed.result }));
  ws.close();
});
