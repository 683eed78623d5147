/*
 * The scripts that connect a shell to `ember __complete`. They hold no command and no option, so
 * they never grow stale.
 */
#include <string.h>

#include "cli/commands.h"

static const char bash_stub[] =
	"# ember completion for bash: source <(ember completion bash)\n"
	"_ember() {\n"
	"	local line\n"
	"	COMPREPLY=()\n"
	"	while IFS=$'\\t' read -r line _; do\n"
	"		case $line in\n"
	"		:files) compopt -o default ;;\n"
	"		:nospace) compopt -o nospace ;;\n"
	"		*) COMPREPLY+=(\"$line\") ;;\n"
	"		esac\n"
	"	done < <(ember __complete -- \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
	"}\n"
	"complete -F _ember ember";

static const char zsh_stub[] =
	"#compdef ember\n"
	"# ember completion for zsh: source <(ember completion zsh), or save it as _ember in fpath\n"
	"_ember() {\n"
	"	local -a candidates\n"
	"	local line with_files=0\n"
	"	for line in \"${(@f)$(ember __complete -- \"${(@Q)words[2,CURRENT]}\" 2>/dev/null)}\"; do\n"
	"		case $line in\n"
	"		'' | :nospace) ;;\n"
	"		:files) with_files=1 ;;\n"
	"		*$'\\t'*) candidates+=(\"${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}\") ;;\n"
	"		*) candidates+=(\"${line//:/\\\\:}\") ;;\n"
	"		esac\n"
	"	done\n"
	"	(( $#candidates )) && _describe ember candidates\n"
	"	(( with_files )) && _files\n"
	"}\n"
	"if [[ ${funcstack[1]} = _ember ]]; then _ember; else compdef _ember ember; fi";

static const char fish_stub[] =
	"# ember completion for fish: ember completion fish | source\n"
	"function __ember_complete\n"
	"	set -l words (commandline -opc) (commandline -ct)\n"
	"	for line in (ember __complete -- $words[2..-1] 2>/dev/null)\n"
	"		switch $line\n"
	"			case ':files'\n"
	"				__fish_complete_path (commandline -ct)\n"
	"			case ':*'\n"
	"			case '*'\n"
	"				echo $line\n"
	"		end\n"
	"	end\n"
	"end\n"
	"complete -c ember -f -a '(__ember_complete)'";

static const struct {
	const char *shell;
	const char *stub;
} stubs[] = { { "bash", bash_stub }, { "zsh", zsh_stub }, { "fish", fish_stub } };

int cmd_completion(App *app UNUSED, const Args *args, Error **err)
{
	for (size_t i = 0; i < ARRAY_SIZE(stubs); i++) {
		if (strcmp(args->words[0], stubs[i].shell) != 0)
			continue;
		output_stream_text("%s", stubs[i].stub);
		return 0;
	}
	error_set(err, ERR_USAGE, "no completion for shell '%s'", args->words[0]);
	return error_hint(err, "use one of bash, zsh and fish");
}
