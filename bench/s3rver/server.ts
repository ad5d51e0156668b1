import S3rver from 's3rver'

/** s3rver as a process over FOLDER, on any free port, with the bucket "bench": prints the port and serves until it is killed. It keeps files as they are, and never syncs them. */
const [folder = ''] = process.argv.slice(2)
const server = new S3rver({ address: '127.0.0.1', port: 0, directory: folder, silent: true, resetOnClose: false, configureBuckets: [{ name: 'copies-1' }] })
const { port } = await server.run()
console.log(JSON.stringify({ port }))
