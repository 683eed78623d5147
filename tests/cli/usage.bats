# The command line itself: help, mistakes of every kind, JSON errors, completion, and where the
# output goes. No VM is booted.
load lib

setup() {
	export EMBER EMBER_STATE_DIR=$BATS_TEST_TMPDIR/state
	unset EMBER_FORMAT NO_COLOR
}

# No mistake may touch the state directory.
untouched() {
	[ ! -e "$EMBER_STATE_DIR" ]
}

# refuses STATUS-OF-USAGE PART... : what the last `expect 2` must have said.
refuses() {
	explains "$@"
	untouched
}

# A VM that was never booted, as a record: enough for the commands that only look.
record() {
	mkdir -p "$EMBER_STATE_DIR/vms/$1"
	cat >"$EMBER_STATE_DIR/vms/$1/vm.json" <<-END
		{"schema":1, "name":"$1", "id":"0b5e1c1e-0000-4000-8000-$(printf '%012d' "${2:-1}")",
		 "status":"created", "image":"debian", "cpus":2, "memory_mib":512, "disk_size_mib":8192,
		 "created_at":"2026-01-02T03:04:05Z", "labels":{"tier":"front"}}
	END
}

# The same VM with a process that passes for its hypervisor.
record_running() {
	record "$1"
	jq --argjson pid "$2" --argjson start "$(sed 's/.*) //' "/proc/$2/stat" | cut -d ' ' -f 20)" \
		'.status = "running" | .pid = $pid | .pid_start = $start | .started_at = "2026-01-02T03:04:05Z"' \
		"$EMBER_STATE_DIR/vms/$1/vm.json" >"$BATS_TEST_TMPDIR/record"
	mv "$BATS_TEST_TMPDIR/record" "$EMBER_STATE_DIR/vms/$1/vm.json"
}

# Like on a screen: the command's output and nothing else.
on_terminal() {
	TERM=xterm script -qec "$*" /dev/null </dev/null 3>&-
}

@test "help of every command: usage, options, examples, exit 0" {
	local path

	while read -r path; do
		# shellcheck disable=SC2086 # its words
		expect 0 $path --help
		contains "$output" "Usage: $path" "." "ember help"
		[[ $output != *$'\t'* ]]
		[ "$(wc -L <<<"$output")" -le 92 ]
		# shellcheck disable=SC2086
		equal "$(ember help ${path#ember})" "$output"
	done < <(ember __commands | sed -n 's/^command //p')
	expect 0 ember help
	contains "$output" "Machines:" "--state-dir" "exec"
	[[ $output != *__complete* ]]
}

# The examples of the help texts, the man pages, README and docs: the command alone, without where its output goes.
examples() {
	local path top=$CLI_DIR/../..

	{
		while read -r path; do
			# shellcheck disable=SC2086 # its words
			ember $path --help | sed '1,/^Examples:/d'
		done < <(ember __commands | sed -n 's/^command ember//p')
		sed -s '1,/^# EXAMPLES/d; /^# /,$d' "$top"/man/*.scd
		sed -n '/^```[a-z]/,/^```$/p' "$top/README.md" "$top"/docs/*.md
	} | sed -nE 's/^[[:space:]]*([#$] )?(sudo )?(ember [a-z].*)/\3/; T; /^ember help shows /d
		s/^(ember exec .*) -- .*/\1/; s/ *(\+\+$| \|| [0-9]?[<>]|  +#| &&).*//; p' | sort -u
}

@test "examples: nothing is shown that ember would not understand" {
	local line shown

	mapfile -t shown < <(examples)
	[ "${#shown[@]}" -ge 60 ]
	for line in "${shown[@]}"; do
		# What follows the name in `exec` is not for ember.
		line=${line/#ember exec /ember exec --help }
		eval "set -- ${line#ember }"
		run --separate-stderr ember "$@" --help
		if [ "$status" -ne 0 ]; then
			printf 'example: %s\n%s\n' "$line" "$stderr" >&2
			return 1
		fi
		contains "$output" "Usage: ember $1"
	done
	untouched
}

@test "help as JSON" {
	expect 0 ember help vm create --format json
	json '.help | contains("--image")'
}

@test "no command: the overview, and exit 2" {
	expect 2 ember
	contains "$output" "Usage: ember"
	expect 2 ember vm
	contains "$output" "create"
	expect 2 ember vm --format json
	json '.error.code == "usage"'
}

@test "commands that do not exist get the nearest" {
	expect 2 ember vm crate web
	refuses "unknown command 'vm crate'" "ember vm create?"
	expect 2 ember start web
	refuses "unknown command 'start'" "ember vm start?"
	expect 2 ember pull alpine
	refuses "ember image pull?"
	expect 2 ember imgae list
	refuses "ember image?"
	expect 2 ember image load x
	refuses "ember image import?"
	expect 2 ember remove web
	refuses "ember vm delete?"
	expect 2 ember save web
	refuses "ember image export?"
	expect 2 ember kernel use stock
	refuses "ember kernel default?"
	expect 2 ember xyzzyxyzzy
	refuses "ember help lists the commands"
	expect 2 ember help vm crate
	refuses "ember vm create?"
}

@test "options that do not exist get the nearest" {
	expect 2 ember vm create web --imgae debian
	refuses "unknown option '--imgae'" "did you mean --image?"
	expect 2 ember kernel build --force
	refuses "ember kernel build --help"
	[[ $stderr != *--source* ]]
	expect 2 ember vm create web --zzzzzz
	refuses "unknown option '--zzzzzz'" "ember vm create --help"
	expect 2 ember vm delete -rf
	refuses "unknown option '-r'"
	expect 2 ember vm list --image=x
	refuses "--image"
	expect 2 ember --frobnicate vm list
	refuses "--frobnicate"
}

@test "values that are missing, empty, twice, or not taken" {
	expect 2 ember vm create web --image
	refuses "--image needs a value"
	expect 2 ember vm create web --image --wait
	refuses "--image needs a value"
	expect 2 ember vm create web --image ''
	refuses "empty"
	expect 2 ember vm create web --image a --image b
	refuses "--image is given twice"
	expect 2 ember vm create web --image a --wait=yes
	refuses "--wait takes no value"
	expect 2 ember vm create web
	refuses "--image is missing"
	expect 2 ember -s
	refuses "-s needs a value"
	expect 2 ember -q -v version
	refuses "--quiet and --verbose"
	expect 2 ember vm create web --image a --wait --no-start
	refuses "--wait and --no-start"
}

@test "words that are missing or too many" {
	expect 2 ember vm create --image a
	refuses "needs NAME" "usage: ember vm create [OPTIONS] NAME"
	expect 2 ember vm create a b --image a
	refuses "unexpected word 'b'"
	expect 2 ember version now
	refuses "unexpected word 'now'"
	expect 2 ember vm fork one
	refuses "SOURCE NAME"
	expect 2 ember vm start
	refuses "--all"
	expect 2 ember vm stop web --all
	refuses "--all takes no names"
	expect 2 ember cp a
	refuses "SOURCE DESTINATION"
	expect 2 ember completion
	refuses "bash|zsh|fish"
}

@test "who forgets the name, or gives it as an option, is told where it goes" {
	expect 2 ember image build ./web
	refuses "the name comes first: ember image build NAME ./web"
	expect 2 ember image build .
	refuses "the name comes first: ember image build NAME ."
	expect 2 ember image build -t web ./web
	refuses "unknown option '-t'" "the name comes first, without an option: ember image build NAME"
}

@test "sizes, names and snapshots in the wrong place: what was meant" {
	expect 2 ember vm resize web 20G
	refuses "unexpected word '20G'" "did you mean --disk-size 20G?"
	expect 2 ember storage grow 200G
	refuses "unexpected word '200G'" "did you mean --size 200G?"
	expect 2 ember vm resize web --size 20G
	refuses "unknown option '--size'" "did you mean --disk-size?"
	expect 2 ember vm update-config web --disk-size 20G
	refuses "unknown option '--disk-size'" "ember vm resize NAME --disk-size SIZE"
	expect 2 ember vm update-config web --name=shop
	refuses "unknown option '--name'" "ember vm rename NAME NEW"
	expect 2 ember snapshot restore web@before
	refuses "needs VM NAME" "a word of its own: ember snapshot restore web before"
	expect 2 ember snapshot create web@before
	refuses "ember snapshot create web before"
	expect 2 ember snapshot delete web@before
	refuses "ember snapshot delete web before"
	expect 2 ember storage grow
	refuses "--size is missing" "add --size SIZE"
}

@test "a kernel that is none: what one is, and no option that the command lacks" {
	expect 3 ember kernel add mine "$BATS_TEST_TMPDIR/nope"
	refuses "No such file" "bzImage"
	expect 2 ember kernel add mine "$BATS_TEST_DIRNAME/usage.bats"
	refuses "is not a kernel" "bzImage"
	[[ $stderr != *--kernel* ]]
}

@test "names: nothing that could leave the state directory" {
	local name long

	long=$(printf 'a%.0s' $(seq 300))
	for name in ../x ../../etc/passwd / . .. .hidden -- ' ' 'a b' 'a/b' A wEb $'a\nb' $'a\x1b[2J' 'größe' $'\xff\xfe' \
		"$long" 'a;b' 'a*' '$HOME' ''; do
		expect 2 ember vm create --image debian -- "$name"
		refuses "hint: "
		expect 2 ember vm start -- "$name"
		refuses "not a valid vm name"
		expect 2 ember vm delete --force -- "$name"
		refuses "not a valid vm name"
		expect 2 ember image build -- "$name"
		refuses "not a valid image name"
		[ "${#stderr}" -lt 500 ]
	done
	expect 2 ember vm create -rf --image debian
	refuses "unknown option '-r'"
	expect 2 ember vm create -- -rf
	refuses "'-rf' is not a valid vm name"
	expect 2 ember image pull x --name ../x
	refuses "not a valid image name"
}

@test "no byte of a name drives the terminal" {
	expect 2 ember vm start -- $'a\x1b[2Jb\xc2\x9bc\x07\xff'
	[[ $stderr != *$'\x1b'* && $stderr != *$'\x07'* && $stderr != *$'\xff'* && $stderr != *$'\xc2\x9b'* ]]
	expect 2 ember $'\x1b]0;title\x07'
	[[ $stderr != *$'\x1b'* && $stderr != *$'\x07'* ]]
}

@test "sizes" {
	local size

	for size in 0G 1.5G 99999999T -1G 512 512MB G '' 1GG 1E 0x10M '1 G' 999999999999999999999M 1023K; do
		expect 2 ember vm create web --image debian "--memory=$size"
		refuses "--memory" "hint: "
	done
	for size in 0G 99999999T 512; do
		expect 2 ember vm create web --image debian --disk-size "$size"
		refuses "--disk-size"
		expect 2 ember init --storage btrfs --size "$size"
		refuses "--size"
	done
	expect 2 ember vm create web --image debian --memory 16M
	refuses "out of range"
}

@test "numbers" {
	local cpus

	for cpus in 0 -1 1.5 many '' 4294967296 99999999999999999999; do
		expect 2 ember vm create web --image debian "--cpus=$cpus"
		refuses "--cpus" "hint: "
	done
	expect 2 ember vm create web --image debian --cpus 0
	refuses "at least 1"
	expect 2 ember vm wait web --timeout 0
	refuses "at least 1"
	expect 2 ember vm logs web --tail -5
	refuses "at least 0"
}

@test "choices" {
	expect 2 ember --format xml vm list
	refuses "--format does not know 'xml'" "table|json"
	expect 2 ember vm export web web.img --format qcow2
	refuses "--format does not know 'qcow2'" "--as qcow2"
	EMBER_FORMAT=xml expect 2 ember vm list
	refuses "EMBER_FORMAT does not know 'xml'"
	expect 2 ember vm wait web --for ever
	refuses "ready|stopped"
	expect 2 ember vm list --status up
	refuses "running"
	expect 2 ember vm create web --image debian --network tunnel
	refuses "tunnel"
	expect 2 ember vm create web --image debian --hypervisor vmware
	refuses "vmware"
	expect 2 ember completion tcsh
	refuses "bash, zsh and fish"
}

@test "pairs" {
	expect 2 ember vm create web --image debian --env HOME
	refuses "KEY=value" "HOME=1"
	expect 2 ember vm create web --image debian --label =x
	refuses "KEY=value"
}

@test "global options stand anywhere, -- ends them" {
	expect 0 ember --format json vm list
	equal "$output" "[]"
	expect 0 ember vm --format=json list
	equal "$output" "[]"
	expect 0 ember vm list --format json
	equal "$output" "[]"
	EMBER_FORMAT=json expect 0 ember vm list
	equal "$output" "[]"
	EMBER_FORMAT=json expect 0 ember vm list --format table
	contains "$output" "No VMs found. Create one with: ember vm create <name> --image <image>"
	expect 0 ember -q vm list
	equal "$output" ""
	expect 0 ember vm tree
	contains "$output" "No images and no VMs found"
	expect 2 ember vm tree now
	refuses "usage: ember vm tree"
	[[ $stderr != *OPTIONS* ]]
	expect 2 ember vm resume web
	[[ $stderr != *"did you mean"* ]]
	expect 2 ember vm list -- --format json
	refuses "unexpected word '--format'"
	untouched
}

@test "errors as JSON: the last line of stdout, stderr empty" {
	expect 2 ember vm crate --format json
	json '.error | .code == "usage" and .exit == 2 and .context == [] and (.hint | contains("create"))'
	equal "$stderr" ""
	expect 2 ember vm create web --image a --cpus 0 --format json
	json '.error.message | contains("at least 1")'
	expect 2 ember vm create -- $'\xff' --format json
	contains "$stderr" "ember: "
	expect 2 ember --format json vm create --image a -- $'\xff'
	json '.error.code == "usage"'
	expect 3 ember vm inspect nosuch --format json
	json '.error.code == "not_found" and .error.exit == 3'
	equal "$stderr" ""
	untouched
}

@test "what ember itself gets wrong around exec is 125, in JSON too" {
	expect 125 ember exec
	refuses "NAME"
	expect 125 ember exec web
	refuses "COMMAND"
	expect 125 ember exec --frobnicate web true
	refuses "--frobnicate"
	expect 125 ember exec ../x true
	refuses "not a valid vm name"
	expect 125 ember exec nosuch true
	refuses "nosuch"
	expect 125 ember exec --format json nosuch true
	json '.error.code == "not_found" and .error.exit == 125'
}

@test "nothing that only looks makes an installation" {
	expect 0 ember vm list
	expect 0 ember image list
	contains "$output" "No images found"
	expect 0 ember kernel list
	contains "$output" "No kernels found"
	expect 0 ember image list --format json
	json '.images == []'
	expect 0 ember kernel list --format json
	json '.kernels == []'
	expect 0 ember vm stop --all
	contains "$output" "No VMs to stop."
	expect 0 ember vm delete --all --format json
	equal "$output" "[]"
	expect 3 ember info
	refuses "not initialized" "ember init"
	expect 3 ember vm start web
	untouched
}

@test "list: a table for people, filters" {
	record web 1
	record db 2
	expect 0 ember vm list
	equal "${lines[0]}" "NAME  STATUS   IMAGE   CPUS   MEMORY   DISK  USED  IP  UPTIME"
	equal "${lines[1]}" "db    created  debian     2  512 MiB  8 GiB  -     -   -"
	expect 0 ember vm ls --status running
	equal "$output" "No VMs found that match."
	expect 0 ember vm list --label tier --label tier=front --format json
	json 'map(.name) == ["db","web"]'
	expect 0 ember vm list --label tier=back --format json
	equal "$output" "[]"
	expect 0 ember vm inspect web
	contains "$output" "Name:" "web" "Memory:" "512 MiB"
	expect 3 ember vm inspect wbe
	explains "'wbe'" "web"
}

@test "logs: all, the last lines, none" {
	local log=$EMBER_STATE_DIR/vms/web/console.log

	record web
	expect 3 ember vm logs web
	explains "never ran" "ember vm start web"
	printf 'one\r\ntwo\nthree' >"$log"
	expect 0 ember vm logs web
	equal "$output" $'one\r\ntwo\nthree'
	expect 0 ember vm logs web --tail 1
	equal "$output" three
	printf '\n' >>"$log"
	expect 0 ember vm logs web --tail 1
	equal "$output" three
	expect 0 ember vm logs web -n 2 --follow
	equal "$output" $'two\nthree'
	expect 0 ember vm logs web --tail 99
	equal "${#lines[@]}" 3
	expect 0 ember vm logs web --tail 0
	equal "$output" ""
	: >"$log"
	expect 0 ember vm logs web --tail 3
	equal "$output" ""
	# More than is read at a time.
	seq 50000 >"$log"
	expect 0 ember vm logs web --tail 40000
	equal "${lines[0]} ${#lines[@]}" "10001 40000"
	equal "$(ember vm logs web | cksum)" "$(seq 50000 | cksum)"
	expect 3 ember vm logs nosuch
}

@test "logs on a terminal: nothing that drives it" {
	record web
	printf 'a\033[2Jb\033]0;title\007c\r\n' >"$EMBER_STATE_DIR/vms/web/console.log"
	run on_terminal "'$EMBER' vm logs web"
	equal "$output" $'abc\r'
}

@test "logs --follow goes on until the VM stops" {
	local log=$EMBER_STATE_DIR/vms/web/console.log out=$BATS_TEST_TMPDIR/out machine follower

	sleep 60 3>&- &
	machine=$!
	record_running web "$machine"
	printf 'one\n' >"$log"
	"$EMBER" vm logs -f web >"$out" 3>&- &
	follower=$!
	until_true 5 grep -q one "$out"
	printf 'two\n' >>"$log"
	until_true 5 grep -q two "$out"
	: >"$log"
	printf 'three\n' >>"$log"
	until_true 5 grep -q three "$out"
	kill "$machine"
	wait "$follower"
	equal "$(cat "$out")" $'one\ntwo\nthree'
}

@test "logs --follow ends with its reader, and with Ctrl-C" {
	local machine follower status=0

	sleep 60 3>&- &
	machine=$!
	record_running web "$machine"
	printf 'one\n' >"$EMBER_STATE_DIR/vms/web/console.log"
	run timeout 10 bash -c '"$EMBER" vm logs -f web 3>&- | head -n 1'
	equal "$output" one
	"$EMBER" vm logs -f web >"$BATS_TEST_TMPDIR/out" 3>&- &
	follower=$!
	until_true 5 grep -q one "$BATS_TEST_TMPDIR/out"
	kill -INT "$follower"
	wait "$follower" || status=$?
	equal "$status" 130
	kill "$machine"
}

@test "list tells the truth about processes, and writes nothing" {
	local machine before

	sleep 60 3>&- &
	machine=$!
	record_running web "$machine"
	before=$(cksum <"$EMBER_STATE_DIR/vms/web/vm.json")
	expect 0 ember vm list --status running
	contains "$output" web
	kill "$machine"
	wait "$machine" || true
	expect 0 ember vm list --format json
	json '.[0].status == "stopped"'
	equal "$(cksum <"$EMBER_STATE_DIR/vms/web/vm.json")" "$before"
}

@test "a record that is rubbish does not hide the others" {
	record web 1
	mkdir -p "$EMBER_STATE_DIR/vms/hurt"
	printf '{"schema":1,' >"$EMBER_STATE_DIR/vms/hurt/vm.json"
	expect 0 ember vm list
	contains "$output" "hurt  broken" "web   created"
	expect 0 ember vm list --status broken --format json
	json 'length == 1 and .[0].name == "hurt"'
}

@test "several names: each is tried, one error each, the first one's status" {
	record web 1
	expect 3 ember -s "$EMBER_STATE_DIR" vm start nosuch1 nosuch2
	equal "$(grep -c '^ember: ' <<<"$stderr")" 2
	expect 3 ember vm start nosuch1 nosuch2 --format json
	equal "$(tail -n 1 <<<"$output" | jq -r .error.code)" not_found
	equal "$(head -n 1 <<<"$output")" "[]"
}

@test "completion: commands, options, values, names" {
	record web 1
	record web-2 2
	record db 3
	expect 0 ember __complete -- v
	contains "$output" $'vm\t' $'version\t'
	expect 0 ember __complete -- vm st
	contains "$output" start stop
	[[ $output != *restart* ]]
	expect 0 ember __complete -- vm stop w
	equal "$output" $'web\nweb-2'
	expect 0 ember __complete -- vm stop --force db w
	equal "$output" $'web\nweb-2'
	expect 0 ember __complete -- vm create x --mem
	contains "$output" "--memory"
	expect 0 ember __complete -- vm create x --memory 1G --mem
	equal "$output" ""
	mkdir -p "$EMBER_STATE_DIR"/kernels/{mine,.apt,Bad}
	expect 0 ember __complete -- kernel delete ''
	equal "$output" mine
	expect 0 ember __complete -- kernel default ''
	equal "$output" $'stock\nmine\n:files'
	expect 0 ember __complete -- vm list --format j
	equal "$output" json
	expect 0 ember __complete -- vm list --format=j
	equal "$output" --format=json
	expect 0 ember __complete -- vm list --format = j
	equal "$output" json
	expect 0 ember __complete -- vm list --status run
	equal "$output" running
	expect 0 ember __complete -- cp w
	contains "$output" "web:" "web-2:" ":files" ":nospace"
	expect 0 ember __complete -- cp web : /etc/hosts /t
	equal "$output" $':files\n:nospace'
	expect 0 ember __complete -- cp web : /e
	equal "$output" ""
	expect 0 ember __complete -- exec w
	equal "$output" $'web\nweb-2'
	expect 0 ember __complete -- exec web ls --u
	equal "$output" ""
	expect 0 ember __complete -- help vm cr
	contains "$output" create
	expect 0 ember __complete -- completion ''
	equal "$output" $'bash\nzsh\nfish'
	expect 0 ember __complete -- -s "$BATS_TEST_TMPDIR/other" vm stop w
	equal "$output" ""
	unset EMBER_STATE_DIR
	expect 0 ember __complete -- "--state-dir=$BATS_TEST_TMPDIR/state" vm stop d
	equal "$output" db
	expect 0 ember __complete -- nosuch w
	expect 0 ember __complete --
}

@test "completion in bash itself" {
	record web 1
	ember completion bash >"$BATS_TEST_TMPDIR/stub"
	# shellcheck disable=SC2016 # for the inner shell
	run bash -c '
		ember() { "$EMBER" "$@"; }
		source "$1"
		COMP_WORDS=(ember vm stop w) COMP_CWORD=3
		_ember 2>/dev/null
		printf "%s\n" "${COMPREPLY[@]}"
	' - "$BATS_TEST_TMPDIR/stub"
	equal "$output" web
}

@test "stdout that is full, closed or not read is noticed" {
	run bash -c '"$EMBER" version >/dev/full 3>&-'
	equal "$status" 1
	contains "$output" "standard output" "hint: "
	run bash -c '"$EMBER" vm list --format json >/dev/full 3>&-'
	equal "$status" 1
	run bash -c '"$EMBER" help >&- 3>&-'
	equal "$status" 1
	run bash -c '(sleep 0.2; "$EMBER" help; echo "status $?" >&2) 3>&- | true'
	equal "$output" "status 1"
	run bash -c '"$EMBER" vm start -- / 2>&- 3>&-'
	equal "$status" 2
	run bash -c '"$EMBER" version <&- 3>&-'
	equal "$status" 0
}

@test "colours only on a terminal, and only if wanted" {
	expect 2 ember nosuchcommand
	[[ $stderr != *$'\x1b'* ]]
	run on_terminal "'$EMBER' nosuchcommand"
	contains "$output" $'\x1b[1;31member:\x1b[0m'
	NO_COLOR=1 run on_terminal "'$EMBER' nosuchcommand"
	[[ $output != *$'\x1b'* ]]
	run on_terminal "'$EMBER' --no-color nosuchcommand"
	[[ $output != *$'\x1b'* ]]
}

@test "quiet: no messages, but data and errors" {
	record web 1
	expect 0 ember -q vm list
	contains "$output" web
	expect 0 ember -q vm stop --all
	equal "$output$stderr" ""
	expect 2 ember -q vm crate
	contains "$stderr" "ember: "
}

@test "it starts with few libraries" {
	[ -z "${EMBER_SANITIZED-}" ] || skip "sanitizers bring their own"
	[ "$(ldd "$EMBER" | grep -c '=> /')" -le 3 ]
}
