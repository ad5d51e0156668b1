import { Command, CommanderError, Option } from 'commander'
import { errorNameOf, exitCodes } from './exit-codes.ts'
import { fileError } from './file-errors.ts'
import { harmlessText } from './output.ts'

/**
 * The command line. Every command's code is imported when it runs, so that `--help` and a quick `dfs ls` do not wait for what only a node needs.
 */
export function program ({ isJson = false }: { isJson?: boolean } = {}): Command {
  const dfs = new Command('dfs')
    // under --json main says what is wrong, in a line of JSON
    .configureOutput({ writeErr: (text) => { if (!isJson) process.stderr.write(text) } })
    .description('A private, encrypted, peer-to-peer object store: put a file on any node, get it back from any other.')
    .version(version, '-V, --version')
    .exitOverride()
    .showHelpAfterError('(dfs --help lists the commands)')
    .addHelpText('after', firstSession)
  nodeCommands(dfs)
  objectCommands(dfs)
  clusterCommands(dfs)
  return dfs
}

const version = '0.1.0'

// as it stands it can be pasted into a shell, so it waits for the node and uses one machine alone
const firstSession = `
A first session:
  dfs init --no-passphrase
  dfs start 2> dfs.log &
  until dfs status; do sleep 1; done
  dfs invite
  dfs bucket create photos --redundancy rf:1
  echo hello | dfs put - photos/hello
  dfs get photos/hello -

The token that "dfs invite" prints lets one more machine in, by "dfs join TOKEN --start" there, at any time.
`

const command = (parent: Command, usage: string, description: string): Command =>
  parent.command(usage).description(description).showHelpAfterError(`usage: ${wayTo(parent)} ${usage} [options]; "${wayTo(parent)} ${usage.split(' ')[0] ?? ''} --help" says more`)
    .option('--data <folder>', 'folder of the node (DFS_DATA; ~/.dfs)')
    .option('--config <file>', 'settings instead of dfs.json in the data folder')
    .option('--json', 'print facts as JSON, one object a line')

const wayTo = (parent: Command): string => parent.parent === null ? parent.name() : `${wayTo(parent.parent)} ${parent.name()}`

const nodeOptions = (of: Command): Command => of
  .option('--listen <multiaddrs>', 'where peers reach this node, comma-separated')
  .option('--announce <multiaddrs>', 'what peers are told instead, e.g. behind a port mapping')
  .option('--bootstrap <multiaddrs>', 'peers to dial, with /p2p/ID')
  .option('--mdns', 'find peers on the local network')
  .option('--api-port <port>', 'port of the local API (4200; 0: any)')
  .option('--capacity <size>', 'bytes of blocks to hold for the cluster, 0 for none')
  .option('--reserve <size>', 'bytes of the disk that stay free')
  .option('--cache <size>', 'bytes of fetched blocks to keep')
  .option('--in-flight <size>', 'bytes of blocks in flight, all peers together')
  .option('--get-memory <size>', 'memory for what readers of objects are being sent, all together; more of them take turns (256MiB)')
  .option('--put-memory <size>', 'memory for the bodies of all puts together; more of them wait (512MiB)')
  .option('--evict-after <duration>', 'a node away for longer is left out of the layout until it is back (1h)')
  .option('--collect-after <duration>', 'a block that nobody needs any more is kept so long before it goes (1d)')
  .option('--scrub-every <duration>', 'everything on the disk is read again so often (30d)')
  .option('--zone <name>', 'failure domain: copies go to different ones')
  .option('--key-file <file>', 'key that opens the keyring')
  .option('--passphrase-file <file>', 'file with the passphrase')
  .option('--metrics-open', 'serve /metrics without the token')
  .option('--s3-listen <host:port>', 'where S3 clients come (127.0.0.1:9000); off: nowhere')
  .option('--s3-region <name>', 'the only region that S3 clients may sign for (any)')
  .option('--http-listen <host:port>', 'where browsers get objects, and share links lead; off (default)')
  .option('--http-url <url>', 'how users reach it, where that is not --public-hosts and the port')
  .option('--rpc-listen <host:port>', 'where gRPC and Connect clients come; off (default)')
  .option('--tls-cert <file>', 'certificate of the three, with what is between it and its root (PEM)')
  .option('--tls-key <file>', 'its key (PEM)')
  .option('--public-hosts <names>', 'names by which clients reach the three, comma-separated; *.NAME: all below')
  .option('--insecure-public', 'let others reach the three without TLS')
  .option('--trusted-proxies <list>', 'addresses or networks of servers before the three, whose X-Forwarded-For counts')
  .option('--rate-per-address <n>', 'requests a second from one address (1000)')
  .option('--rate-per-key <n>', 'requests a second with one access key (1000)')
  .option('--rpc-origins <list>', 'origins of web pages that may use the API at rpc-listen')
  .option('--rpc-reflection', 'let tools read the gRPC interface from the node')
  .addOption(new Option('--log-level <level>').choices(['trace', 'debug', 'info', 'warn', 'error', 'silent']))
  .addOption(new Option('--log-format <format>').choices(['json', 'pretty']))

function nodeCommands (dfs: Command): void {
  nodeOptions(command(dfs, 'init', 'make a cluster, with this node as its founder'))
    .option('--no-passphrase', 'open the keyring by a key file beside it')
    .action(async (options) => { await (await import('./commands/init.ts')).init(options) })
  nodeOptions(command(dfs, 'join <token>', 'make this node a member of the cluster that the token invites to'))
    .option('--no-passphrase', 'open the keyring by a key file beside it')
    .option('--start', 'go on as "dfs start" does')
    .action(async (token, options) => { await (await import('./commands/init.ts')).join(token, options) })
  nodeOptions(command(dfs, 'start', 'run the node until it is told to stop'))
    .action(async (options) => { await (await import('./commands/start.ts')).start(options) })
  command(dfs, 'passphrase', 'change what opens the keyring of a stopped node')
    .option('--key-file <file>', 'key that opens it now')
    .option('--passphrase-file <file>', 'file with the passphrase that opens it now')
    .option('--new-key-file <file>', 'key that shall open it; made if it is not there')
    .option('--new-passphrase-file <file>', 'file with the passphrase that shall open it')
    .option('--no-passphrase', 'a key file beside it shall open it')
    .action(async (options) => { await (await import('./commands/passphrase.ts')).passphrase(options) })
  command(dfs, 'stop', 'stop the node that runs over the data folder')
    .action(async (options) => { await (await import('./commands/node.ts')).stop(options) })
  nodeOptions(command(dfs, 'config', 'show the settings in force, and where each comes from'))
    .action(async (options) => { await (await import('./commands/node.ts')).config(options) })
}

function objectCommands (dfs: Command): void {
  command(dfs, 'put <file> <target>', 'store FILE (- for standard input) as BUCKET/KEY; BUCKET alone takes the file\'s name')
    .option('-r, --recursive', 'store a folder; keys are its paths')
    .option('--content-type <type>', 'e.g. image/jpeg')
    .option('--if-none-match', 'only if there is no such object yet')
    .option('--if-match <etag>', 'only if the object still has this etag')
    .action(async (file, target, options) => { await (await import('./commands/put.ts')).put(file, target, options) })
  command(dfs, 'get <object> [file]', 'write BUCKET/KEY to FILE (- for standard output; by default the key\'s last part)')
    .option('-r, --recursive', 'get everything below BUCKET/PREFIX into a folder')
    .option('--range <first-last>', 'only these bytes, e.g. 0-1023, 1024-, -512')
    .option('--version-id <id>', 'that version, and not the current one')
    .action(async (object, file, options) => { await (await import('./commands/get.ts')).get(object, file, options) })
  command(dfs, 'ls [path]', 'list buckets, or what is in BUCKET or below BUCKET/PREFIX')
    .option('-r, --recursive', 'everything below, not one level')
    .option('--versions', 'every version that is kept, the newest of a key first, and what was deleted')
    .action(async (path, options) => { await (await import('./commands/list.ts')).ls(path, options) })
  command(dfs, 'stat <object>', 'show what is known of BUCKET/KEY, or of BUCKET')
    .option('--version-id <id>', 'of that version, and not of the current one')
    .action(async (object, options) => { await (await import('./commands/list.ts')).stat(object, options) })
  command(dfs, 'lock <object>', 'show what keeps a version of BUCKET/KEY from being removed, or set it')
    .option('--retain-until <date>', 'until 2030-12-31, 2030-12-31T12:00:00Z, or for a time from now, such as 30d; none: no longer')
    .addOption(new Option('--mode <mode>', 'governance: lifted by --bypass-governance; compliance: by nobody, before its date (as it is, or governance)').choices(['governance', 'compliance']))
    .addOption(new Option('--hold <state>', 'on: kept until it is off, without a date').choices(['on', 'off']))
    .option('--bypass-governance', 'shorten or lift a retention in governance mode')
    .option('--version-id <id>', 'that version, and not the current one')
    .action(async (object, options) => { await (await import('./commands/lock.ts')).lock(object, options) })
  command(dfs, 'rm <object>', 'remove BUCKET/KEY')
    .option('-r, --recursive', 'remove everything below BUCKET/PREFIX')
    .option('--version-id <id>', 'that version, for good')
    .action(async (object, options) => { await (await import('./commands/list.ts')).rm(object, options) })
  const bucket = dfs.command('bucket').description('make, change, list and remove buckets').showHelpAfterError()
  command(bucket, 'create <name>', 'make a bucket; the first one settles who holds what')
    .option('--redundancy <rf:n|rs:k+m>', 'rf:1 to rf:3 whole copies (rf:3), or k + m shards of which any k suffice: rs:2+2 from 5 nodes, rs:4+2 from 7')
    .option('--private', 'random keys, fixed chunks, padding: nobody can tell equal content; no deduplication')
    .option('--compression <mode>', 'auto or off')
    .option('--chunking <mode>', 'content, content-small (data edited in place) or fixed')
    .option('--dedup <domain>', 'bucket or cluster')
    .option('--degraded <rule>', 'allow: of two nodes that hold blocks one may acknowledge alone; refuse (default)')
    .action(async (name, options) => { await (await import('./commands/bucket.ts')).create(name, options) })
  command(bucket, 'set <name>', 'change how what is put into a bucket from now on is kept, how much it may be, and who reads it')
    .option('--redundancy <rf:n|rs:k+m>', 'as of create')
    .option('--ack <all|quorum>', 'all: a put is acknowledged with every copy, or shard, on disk, and fails where that cannot be; quorum (default)')
    .option('--versioning <state>', 'enabled: what is overwritten or deleted is kept as a version; suspended')
    .option('--quota <size>', 'of all versions together, such as 500GiB; none')
    .option('--quota-objects <n>', 'of all versions together; none')
    .option('--public <yes|no>', 'yes: anybody may get objects at the public faces, and not list them')
    .action(async (name, options) => { await (await import('./commands/bucket.ts')).set(name, options) })
  for (const [kind, does] of [
    ['lifecycle', 'rules by which objects, versions and abandoned uploads end'], ['lock', 'that versions may be locked, and for how long by default'], ['policy', 'who may do what, beside rights of keys'],
    ['cors', 'which web pages may use it'], ['website', 'its index and error pages'],
  ] as const) {
    command(bucket, `${kind} <name> [file]`, `${does}: show it as JSON, or set it from FILE (- for standard input)`)
      .option('--none', 'take it away')
      .action(async (name, file, options) => { await (await import('./commands/bucket-settings.ts')).document(kind, name, file, options) })
  }
  command(bucket, 'ls', 'list buckets')
    .action(async (options) => { await (await import('./commands/bucket.ts')).list(options) })
  command(bucket, 'rm <name>', 'remove an empty bucket')
    .action(async (name, options) => { await (await import('./commands/bucket.ts')).remove(name, options) })
}

function keyCommands (dfs: Command): void {
  const rights = (of: Command): Command => of
    .option('--bucket <names>', 'comma-separated; "*" for all (of create: the default)')
    .option('--prefix <prefix>', 'only keys that begin so')
    .option('--rights <actions>', 'read, write, list, admin by commas (all of them), or none')
  const key = dfs.command('key').description('access keys for programs that speak S3').showHelpAfterError()
  rights(command(key, 'create <name>', 'make an access key; its secret is shown once'))
    .option('--expires <duration>', 'refused after this, e.g. 24h, 30d')
    .action(async (name, options) => { await (await import('./commands/key.ts')).create(name, options) })
  command(key, 'ls', 'list access keys and what they may do')
    .action(async (options) => { await (await import('./commands/key.ts')).list(options) })
  rights(command(key, 'grant <id>', 'set what a key may do in a bucket, or below a prefix of it'))
    .action(async (id, options) => { await (await import('./commands/key.ts')).grant(id, options) })
  command(key, 'rm <id>', 'remove an access key')
    .action(async (id, options) => { await (await import('./commands/key.ts')).remove(id, options) })
}

function shareCommands (dfs: Command): void {
  const share = command(dfs, 'share <object>', 'make a link that lets whoever has it download BUCKET/KEY')
    .option('--expires <duration>', 'refused after this, e.g. 30m, 24h (7d), or never')
    .option('--once', 'for one download: it is used up when that begins')
    .option('--password', 'asked for here (or DFS_SHARE_PASSWORD), and of whoever opens the link')
    .option('--password-file <file>', 'file with that password')
    .action(async (object, options) => { await (await import('./commands/share.ts')).create(object, options) })
  command(share, 'ls', 'list the links, without their secrets')
    .action(async (_, of) => { await (await import('./commands/share.ts')).list(of.optsWithGlobals()) })
  command(share, 'revoke <share>', 'end a link, named by its id or by itself')
    .action(async (given, _, of) => { await (await import('./commands/share.ts')).revoke(given, of.optsWithGlobals()) })
}

function clusterCommands (dfs: Command): void {
  keyCommands(dfs)
  shareCommands(dfs)
  const invites = command(dfs, 'invite', 'make a token that lets one more node join')
    .option('--uses <n>', 'so many tokens, one for each node')
    .option('--role <role>', 'member (holds keys, serves users), storage (holds ciphertext only) or witness (votes without keys, holds no blocks)')
    .option('--expires <duration>', 'refused after this, e.g. 30m, 24h, 7d')
    .option('--zone <name>', 'zone of the node that joins')
    .option('--dry-run', 'say how many bytes would move if such a node joined, and make no token')
    .option('--capacity <size>', 'of that node, for --dry-run')
    .action(async (options) => { await (await import('./commands/invite.ts')).invite(options) })
  command(invites, 'ls', 'list the invites that this node has made, and what has become of them')
    .action(async (_, of) => { await (await import('./commands/invites.ts')).list(of.optsWithGlobals()) })
  command(invites, 'revoke <invite>', 'withdraw an unused invite, named by its token or its key')
    .action(async (invite, _, of) => { await (await import('./commands/invites.ts')).revoke(invite, of.optsWithGlobals()) })
  command(dfs, 'status', 'show how the node and the cluster are')
    .action(async (options) => { await (await import('./commands/cluster.ts')).status(options) })
  command(dfs, 'doctor', 'say what is wrong, what it means and what to do; also of a node that is stopped')
    .action(async (options) => { await (await import('./commands/doctor.ts')).doctor(options) })
  command(dfs, 'peers', 'show the nodes this one knows')
    .action(async (options) => { await (await import('./commands/cluster.ts')).peers(options) })
  command(dfs, 'watch', 'print announcements of stored objects as they come')
    .action(async (options) => { await (await import('./commands/cluster.ts')).watch(options) })
  const node = dfs.command('node').description('the nodes of the cluster').showHelpAfterError()
  const planned = (of: Command): Command => of.option('--dry-run', 'say how many bytes would move where, and change nothing')
  const followed = (of: Command): Command => planned(of)
    .option('--wait', 'show how far it is, and end when all is where it belongs')
    .option('--force', 'though what is held would not fit')
  followed(command(node, 'set <peer>', 'set the zone or the capacity of a node'))
    .option('--zone <name>', 'failure domain: copies go to different ones')
    .option('--capacity <size>', 'bytes of blocks to hold for the cluster, in proportion to the others\' and at most; 0 for none')
    .action(async (peer, options) => { await (await import('./commands/members.ts')).set(peer, options) })
  followed(command(node, 'drain <peer>', 'have a node hold and decide nothing any more; it stays a member'))
    .option('--undo', 'have it hold and decide again')
    .action(async (peer, options) => { await (await import('./commands/members.ts')).drain(peer, options) })
  followed(command(node, 'replace <old> [new]', 'have a node take what another has, which is put out; without NEW, print a token for it and wait until it has joined'))
    .option('--zone <name>', 'of the node that is to join; as the old one\'s')
    .action(async (old, fresh, options) => { await (await import('./commands/members.ts')).replace(old, fresh, options) })
  planned(command(node, 'remove <peer>', 'put a node out of the cluster; if it could read, what is sealed from then on it cannot'))
    .action(async (peer, options) => { await (await import('./commands/members.ts')).remove(peer, options) })
  const cluster = dfs.command('cluster').description('the cluster as a whole').showHelpAfterError()
  command(cluster, 'layout', 'show who decides and holds how much of what, and while that changes, who is to')
    .action(async (options) => { await (await import('./commands/layout.ts')).layout(options) })
  command(cluster, 'rotate-keys', 'begin an epoch: what is sealed from then on nobody can read with a copy of the keys of before')
    .action(async (options) => { await (await import('./commands/members.ts')).rotateKeys(options) })
  command(cluster, 'forget', 'when a majority is gone for good: give those nodes up, and go on with what survived')
    .requiredOption('--lost <peers>', 'every node that is gone, comma-separated, by its peer id')
    .option('--dry-run', 'only say what is left of what, and what may be stale')
    .option('--yes-lose-data', 'do not ask')
    .action(async (options) => { await (await import('./commands/forget-lost.ts')).forgetLost(options) })
  const admin = dfs.command('admin').description('nodes that invite and remove, beside the one that made the cluster').showHelpAfterError()
  command(admin, 'add <peer>', 'make a member an admin')
    .action(async (peer, options) => { await (await import('./commands/members.ts')).addAdmin(peer, options) })
  command(admin, 'rm <peer>', 'take it back; the node stays a member')
    .action(async (peer, options) => { await (await import('./commands/members.ts')).removeAdmin(peer, options) })
  command(admin, 'ls', 'list the admins')
    .action(async (options) => { await (await import('./commands/members.ts')).listAdmins(options) })
  command(dfs, 'verify [path]', 'prove everything, or what is in BUCKET or below BUCKET/PREFIX: every block opened, its copies counted')
    .option('--deep', 'read the copy of each holder too')
    .action(async (path, options) => { await (await import('./commands/verify.ts')).verify(path, options) })
  const repair = dfs.command('repair').description('the work that keeps every block in as many copies or shards as it should be in').showHelpAfterError()
  command(repair, 'status', 'show what is at risk, and how far the work is')
    .action(async (options) => { await (await import('./commands/repair.ts')).status(options) })
  for (const [action, does] of [['now', 'look at everything now that this node holds or should'], ['pause', 'rest until it is resumed, or the node is started again'], ['resume', 'go on']] as const) {
    command(repair, action, does)
      .action(async (options) => { await (await import('./commands/repair.ts')).steer(action, options) })
  }
  const scrub = dfs.command('scrub').description('the work that reads everything on this node\'s disk again, to find what has rotted').showHelpAfterError()
  command(scrub, 'status', 'show what was found, and how far it is')
    .action(async (options) => { await (await import('./commands/scrub.ts')).status(options) })
  for (const [action, does] of [['now', 'read everything now, as fast as users allow'], ['pause', 'rest until it is resumed, or the node is started again'], ['resume', 'go on']] as const) {
    command(scrub, action, does)
      .action(async (options) => { await (await import('./commands/scrub.ts')).steer(action, options) })
  }
  const collect = dfs.command('collect').description('the work that brings the space of what was overwritten or deleted back').showHelpAfterError()
  command(collect, 'status', 'show what waits to be taken away, and what was')
    .action(async (options) => { await (await import('./commands/collect.ts')).status(options) })
  for (const [action, does] of [['now', 'look for what is dead now; the grace is waited all the same'], ['pause', 'rest until it is resumed, or the node is started again'], ['resume', 'go on']] as const) {
    command(collect, action, does)
      .action(async (options) => { await (await import('./commands/collect.ts')).steer(action, options) })
  }
  const convert = dfs.command('convert').description('the work that gives objects the redundancy that their bucket was set to').showHelpAfterError()
  command(convert, 'status', 'show what is left of all members\' shares, and of this node\'s')
    .action(async (options) => { await (await import('./commands/convert.ts')).status(options) })
  for (const [action, does] of [['now', 'look at everything now that this node looks after'], ['pause', 'rest until it is resumed, or the node is started again'], ['resume', 'go on']] as const) {
    command(convert, action, does)
      .action(async (options) => { await (await import('./commands/convert.ts')).steer(action, options) })
  }
  const cache = dfs.command('cache').description('the cache of fetched blocks').showHelpAfterError()
  command(cache, 'clear', 'forget fetched copies; what this node holds stays')
    .action(async (options) => { await (await import('./commands/node.ts')).clearCache(options) })
  dfs.command('completion <shell>').description('print completion for bash, zsh or fish')
    .action(async (shell) => { (await import('./commands/completion.ts')).completion(shell, dfs) })
}

/** Runs the arguments; the exit code says how it went (docs/CLI.md). */
export async function main (args: readonly string[]): Promise<number> {
  const isJson = args.includes('--json')
  try {
    await program({ isJson }).parseAsync([...args], { from: 'user' })
    return typeof process.exitCode === 'number' ? process.exitCode : exitCodes.ok
  } catch (error) {
    return error instanceof CommanderError && error.exitCode === 0 ? exitCodes.ok : failed(error, { isJson })
  }
}

/** Says why, and gives the exit code. */
function failed (error: unknown, { isJson }: { isJson: boolean }): number {
  const code = errorNameOf(error)
  const exit = exitCodes[code]
  if (isJson) process.stderr.write(`${JSON.stringify({ error: { code, exit, message: messageOf(error) } })}\n`)
  // what is wrong with the arguments has been said, with the help
  else if (!(error instanceof CommanderError)) process.stderr.write(`dfs: ${harmlessText(messageOf(error))}\n`)
  if (code === 'unexpected' && process.env.DFS_DEBUG !== undefined) console.error(error)
  return exit
}

const messageOf = (error: unknown): string => error instanceof Error ? error.message.replace(/^error: /, '') : String(error)

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // a reader that has seen enough (`dfs ls | head`) is no failure
  if (error.code === 'EPIPE') process.exit(exitCodes.ok)
  try { fileError('standard output')(error) } catch (told) { process.exit(failed(told, { isJson: process.argv.includes('--json') })) }
})

// the code is set and the process left to end, so that what is written to a pipe still gets out
process.exitCode = await main(process.argv.slice(2))
// a read that the system does not give back, e.g. of a pipe without a writer, would hold an interrupted process
if (process.exitCode === exitCodes.interrupted) process.exit()
