import type { Command } from 'commander'
import { InvalidInput } from '../../base/errors.ts'

/** `dfs completion SHELL`: a script made from the commands themselves, so that it cannot fall behind them. */
export function completion (shell: string, dfs: Command): void {
  const make = { bash, zsh, fish }[shell]
  if (make === undefined) throw new InvalidInput('shell', `shell is "${shell}"; it takes bash, zsh or fish`)
  process.stdout.write(make(wordsOf(dfs)))
}

interface Words { readonly name: string, readonly description: string, readonly options: readonly string[], readonly commands: readonly Words[] }

const wordsOf = (command: Command): Words => ({
  name: command.name(),
  description: command.description(),
  options: [...command.options.flatMap(({ long }) => long ?? []), '--help'],
  commands: command.commands.map(wordsOf),
})

function bash ({ commands }: Words): string {
  const cases = commands.map(({ name, options, commands: below }) => `    ${name}) words="${[...below.map((command) => command.name), ...options].join(' ')}" ;;`)
  return `# dfs completion bash > /etc/bash_completion.d/dfs
_dfs() {
  local current="\${COMP_WORDS[COMP_CWORD]}" words
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
    *) words="${commands.map(({ name }) => name).join(' ')}" ;;
  esac
  [ "$COMP_CWORD" -eq 1 ] && words="${commands.map(({ name }) => name).join(' ')}"
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _dfs dfs
`
}

function zsh (words: Words): string {
  return `#compdef dfs
# dfs completion zsh > "\${fpath[1]}/_dfs"
autoload -U +X bashcompinit && bashcompinit
${bash(words)}`
}

function fish ({ commands }: Words): string {
  const names = commands.map(({ name }) => name).join(' ')
  const quoted = (text: string): string => `'${text.replaceAll('\'', '\\\'')}'`
  return `# dfs completion fish > ~/.config/fish/completions/dfs.fish
${commands.map(({ name, description }) => `complete -c dfs -n "not __fish_seen_subcommand_from ${names}" -a ${name} -d ${quoted(description)}`).join('\n')}
${commands.flatMap(({ name, options, commands: below }) => [
    ...options.map((option) => `complete -c dfs -n "__fish_seen_subcommand_from ${name}" -l ${option.slice(2)}`),
    ...below.map((command) => `complete -c dfs -n "__fish_seen_subcommand_from ${name}" -a ${command.name} -d ${quoted(command.description)}`),
  ]).join('\n')}
`
}
