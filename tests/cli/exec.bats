# exec: streams, status, signals, environment, and many at once.
load lib

setup_file() {
	new_state
	boot web
}

teardown_file() {
	drop_state
}

@test "stdout and stderr stay apart" {
	expect 0 ember exec web -- sh -c 'echo out; echo err >&2'
	equal "$output" out
	equal "$stderr" err
}

@test "the exit status is the guest's" {
	expect 7 ember exec web -- sh -c 'exit 7'
	expect 255 ember exec web -- sh -c 'exit 255'
	expect 1 ember exec web -- false
}

@test "a command that a signal ended: 128 and its number" {
	expect 137 ember exec web -- sh -c 'kill -9 $$'
	expect 143 ember exec web -- sh -c 'kill -15 $$'
}

@test "not found is 127, not executable is 126" {
	expect 127 ember exec web -- nosuchprogram
	contains "$stderr" "nosuchprogram"
	expect 127 ember exec web -- /no/such/program
	expect 126 ember exec web -- /bin/not-executable
	expect 126 ember exec web -- /etc
}

@test "a VM that is not there is 125" {
	expect 125 ember exec nosuch -- true
	explains "'nosuch'"
}

@test "no command is a usage error with ember's own status" {
	expect 125 ember exec web
	contains "$stderr" "hint: "
}

@test "arguments arrive as they were given" {
	expect 0 ember exec web -- printf '[%s]' 'a b' '' '$HOME' "it's" $'new\nline' 'ü' '--help' '*'
	equal "$output" $'[a b][][$HOME][it\'s][new\nline][ü][--help][*]'
}

@test "stdin reaches the command, and its end does too" {
	expect 0 bash -c "printf 'one\ntwo\n' | '$EMBER' exec web -- wc -l 3>&-"
	equal "${output// /}" 2
	expect 0 bash -c "'$EMBER' exec web -- cat </dev/null 3>&-"
	equal "$output" ""
}

@test "a closed stdin is an empty one" {
	expect 0 bash -c "'$EMBER' exec web -- cat <&- 3>&-"
	equal "$output" ""
}

@test "10 MB of binary data, there and back" {
	local data=$BATS_TEST_TMPDIR/data

	head -c 10000000 /dev/urandom >"$data"
	ember exec web -- sha256sum <"$data" >"$BATS_TEST_TMPDIR/sum"
	equal "$(cut -d' ' -f1 "$BATS_TEST_TMPDIR/sum")" "$(sha256sum <"$data" | cut -d' ' -f1)"
	ember exec web -- cat <"$data" >"$BATS_TEST_TMPDIR/back"
	cmp "$data" "$BATS_TEST_TMPDIR/back"
}

@test "a reader that goes away ends the writer in the guest" {
	run bash -c "'$EMBER' exec web -- yes 3>&- | head -n 1"
	equal "$output" y
	until_true 10 bash -c "! '$EMBER' exec web -- sh -c 'ps | grep -v grep | grep -q \" yes\"' 3>&-"
}

@test "a writer whose reader is gone early: the command's status counts" {
	expect 0 bash -c "head -c 3000000 /dev/zero | '$EMBER' exec web -- true 3>&-"
	expect 0 bash -c "head -c 3000000 /dev/zero | '$EMBER' exec web -- head -c 1 3>&- | wc -c"
	equal "${output// /}" 1
}

@test "environment: the image's, then -e, which wins" {
	expect 0 ember exec web -- sh -c 'echo $FROM_IMAGE'
	equal "$output" yes
	expect 0 ember exec web -e FROM_IMAGE=no -e OTHER='a b' -- sh -c 'echo "$FROM_IMAGE $OTHER"'
	equal "$output" "no a b"
	expect 0 ember exec web -- env
	contains "$output" "PATH=/bin:/usr/bin" "HOME=/root"
}

@test "-w is where it runs; a directory that is missing is 126" {
	expect 0 ember exec web -w /tmp -- pwd
	equal "$output" /tmp
	expect 126 ember exec web -w /no/such -- pwd
	contains "$stderr" /no/such
}

@test "--user by name, by number, with group; unknown is 126" {
	expect 0 ember exec web --user user -- id
	contains "$output" "uid=1000(user)" "gid=1000(user)" "2000(extra)"
	expect 0 ember exec web --user 1234 -- id -u
	equal "$output" 1234
	expect 0 ember exec web --user user -- sh -c 'echo $HOME; touch /root/x 2>/dev/null || echo denied'
	equal "${lines[0]}" /home/user
	equal "${lines[1]}" denied
	expect 126 ember exec web --user nosuch -- id
	contains "$stderr" nosuch
}

@test "64 at once, none lost, none mixed up" {
	local i pids=() bad=0

	for i in $(seq 64); do
		ember exec web -- sh -c "echo $i; echo err-$i >&2; exit $((i % 50))" \
			>"$BATS_TEST_TMPDIR/$i.out" 2>"$BATS_TEST_TMPDIR/$i.err" &
		pids[i]=$!
	done
	for i in $(seq 64); do
		local status=0

		wait "${pids[i]}" || status=$?
		[ "$status" -eq $((i % 50)) ] || { echo "$i: status $status"; bad=1; }
		equal "$(cat "$BATS_TEST_TMPDIR/$i.out")" "$i" || bad=1
		equal "$(cat "$BATS_TEST_TMPDIR/$i.err")" "err-$i" || bad=1
	done
	[ "$bad" -eq 0 ]
}

@test "a stream that stalls does not hold up another" {
	ember exec web -- yes >"$BATS_TEST_TMPDIR/fifo-less" 2>/dev/null &
	local busy=$!

	sleep 0.2
	expect 0 ember exec web -- echo through
	equal "$output" through
	kill "$busy"
	wait "$busy" || true

	mkfifo "$BATS_TEST_TMPDIR/fifo"
	ember exec web -- yes >"$BATS_TEST_TMPDIR/fifo" &
	busy=$!
	exec 9<"$BATS_TEST_TMPDIR/fifo"
	sleep 0.5
	expect 0 ember exec web -- echo through
	equal "$output" through
	exec 9<&-
	wait "$busy" || true
}

@test "interrupting ember ends the command in the guest" {
	# A shell starts what is in the background with SIGINT ignored, which ember would heed.
	env --default-signal=INT "$EMBER" exec web -- sleep 4321 3>&- &
	local pid=$!

	until_true 10 bash -c "'$EMBER' exec web -- sh -c 'ps | grep -v grep | grep -q \"sleep 4321\"' 3>&-"
	kill -INT "$pid"
	waited "$pid"
	equal "$status" 130
	until_true 10 bash -c "! '$EMBER' exec web -- sh -c 'ps | grep -v grep | grep -q \"sleep 4321\"' 3>&-"
}

@test "200 in a row leave nothing behind on either side" {
	local i keeper before after

	keeper=$(pgrep -f "ember-keeper.*$EMBER_STATE_DIR" | head -n 1)
	ember exec web -- true
	before=$(find "/proc/$keeper/fd" -mindepth 1 | wc -l)
	for i in $(seq 200); do
		"$EMBER" exec web -- true 3>&-
	done
	until_true 5 bash -c "[ \$(find /proc/$keeper/fd -mindepth 1 | wc -l) -le $before ]"
	after=$(ember exec web -- sh -c 'ls /proc | grep -c "^[0-9]"')
	[ "$after" -lt 90 ]
}

@test "a background child of the command does not hold exec" {
	local began=$SECONDS

	expect 0 ember exec web -- sh -c 'sleep 60 >/dev/null 2>&1 & echo started'
	equal "$output" started
	[ $((SECONDS - began)) -lt 20 ]
}
