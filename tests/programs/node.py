# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""Node.js: libuv's loop, children whose standard streams are socketpairs, handles passed between processes, a cluster."""

from lib import equal, main, need, on_both, prefix, run

NET = '''
const net = require('net'), data = Buffer.alloc(3 << 20, 'afunix');
const server = net.createServer(c => c.pipe(c)).listen(process.argv[2], () => {
	let open = 20;
	for (let i = 0; i < 20; i++) {
		const parts = [], c = net.connect(process.argv[2]);
		c.on('data', d => parts.push(d)).on('end', () => {
			console.log(Buffer.concat(parts).equals(data));
			if (--open === 0) server.close(() => console.log('closed'));
		});
		c.end(data);
	}
});
'''

CHILDREN = '''
const cp = require('child_process');
const cat = cp.spawn('cat', [], {stdio: ['pipe', 'pipe', 'pipe', 'pipe']});
let text = '';
cat.stdout.on('data', d => text += d).on('end', () => console.log('cat', text.length));
cat.stdin.end('x'.repeat(500000));
cat.on('close', code => {
	console.log('code', code);
	console.log(cp.execFileSync('tr', ['a-z', 'A-Z'], {input: 'sync\\n'}).toString().trim());
	const shell = cp.spawn('sh', ['-c', 'echo out; echo err >&2; exit 3']);
	let out = '', err = '';
	shell.stdout.on('data', d => out += d);
	shell.stderr.on('data', d => err += d);
	shell.on('close', code => {
		console.log('code', code, out + err);
		const dies = cp.spawn('sleep', ['20']);
		dies.on('close', (code, signal) => console.log(signal));
		dies.kill();
	});
});
'''

FORK = '''
const cp = require('child_process'), net = require('net');
if (process.argv[2] === 'child') {
	process.on('message', (m, handle) => {
		if (!handle) process.send({sum: m.numbers.reduce((a, b) => a + b), length: m.text.length});
		else { handle.end(m + ' by the child'); process.disconnect(); }
	});
} else {
	const child = cp.fork(__filename, ['child']);
	child.send({numbers: [1, 2, 3], text: 'y'.repeat(300000)});
	child.on('message', m => {
		console.log(m.sum, m.length);
		const server = net.createServer(c => { child.send('served', c); server.close(); }).listen('s', () =>
			net.connect('s').on('data', d => console.log(String(d))));
	});
	child.on('exit', code => console.log('exit', code));
}
'''

CLUSTER = '''
const cluster = require('cluster'), net = require('net');
cluster.schedulingPolicy = process.argv[2] === 'none' ? cluster.SCHED_NONE : cluster.SCHED_RR;
if (cluster.isPrimary) {
	let ready = 0, answers = 0;
	for (let i = 0; i < 3; i++) cluster.fork();
	cluster.on('listening', () => {
		if (++ready < 3) return;
		for (let i = 0; i < 30; i++)
			net.connect('s').on('data', d => {
				if (++answers === 30) { console.log(answers); cluster.disconnect(() => console.log('gone')); }
			});
	});
} else {
	net.createServer(c => c.end('' + process.pid)).listen('s');
}
'''


def node(side, script, wanted, *arguments):
    need('node')
    with open('script.js', 'w', encoding='utf-8') as file:
        file.write(script)
    result = run([*prefix(side), 'node', 'script.js', *arguments], timeout=20)
    equal((result.status, result.out), (0, wanted), result)


main(on_both('net: twenty connections with three megabytes each', node, NET, 'true\n' * 20 + 'closed\n', 's')
     + on_both('child_process: spawn, execFileSync, kill', node, CHILDREN,
               'cat 500000\ncode 0\nSYNC\ncode 3 out\nerr\n\nSIGTERM\n')
     + on_both('child_process: fork, messages, a connection is handed over', node, FORK,
               '6 300000\nserved by the child\nexit 0\n')
     + on_both('cluster: the primary hands connections out', node, CLUSTER, '30\ngone\n')
     + on_both('cluster: the workers share the listener', node, CLUSTER, '30\ngone\n', 'none'))
