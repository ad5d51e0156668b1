import { InvalidInput, NotFound, Refused, StoreFull } from '../base/errors.ts'

/** Translates the system's error about one of the user's own files into what the user does next; `path` is the user's name for it. */
export function fileError (path: string): (cause: NodeJS.ErrnoException) => never {
  return (cause) => { throw told(path, cause) }
}

function told (path: string, cause: NodeJS.ErrnoException): Error {
  switch (cause.code) {
    case 'ENOENT': return new NotFound(`there is no file ${path}`, { cause })
    case 'ENOSPC': case 'EDQUOT': return new StoreFull(`the file system of ${path} is full`, { cause })
    case 'EACCES': case 'EPERM': case 'EROFS': return new Refused(`no permission: ${path} (${cause.code})`, { cause })
    case 'EEXIST': case 'ENOTDIR': return new Refused(`a file stands where ${path} needs a folder`, { cause })
    case 'EISDIR': return new Refused(`${path} is a folder`, { cause })
    case 'ENAMETOOLONG': return new InvalidInput('file', `the name is too long for a file: ${path}`, { cause })
    default: return cause
  }
}
