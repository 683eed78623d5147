# fork of a stopped VM: a copy that is apart from its source.
load lib

setup_file() {
	new_state
	boot origin
	ember exec origin -- sh -c 'echo from origin >/root/file; head -c 3000000 /dev/urandom >/root/blob; sync'
	ember exec origin -- sha256sum /root/blob >"$BATS_FILE_TMPDIR/sum"
	ember vm stop origin
}

teardown_file() {
	drop_state
}

teardown() {
	assert_no_leftovers
}

@test "a fork has what the source had, and what it changes stays its own" {
	expect 0 ember vm fork origin child
	expect 0 ember exec child -- cat /root/file
	equal "$output" "from origin"
	expect 0 ember exec child -- sha256sum /root/blob
	equal "$output" "$(cat "$BATS_FILE_TMPDIR/sum")"
	ember exec child -- sh -c 'echo changed >/root/file; rm /root/blob; sync'
	expect 0 ember vm start origin
	expect 0 ember exec origin -- cat /root/file
	equal "$output" "from origin"
	expect 0 ember exec origin -- sha256sum /root/blob
	equal "$output" "$(cat "$BATS_FILE_TMPDIR/sum")"
	ember vm stop origin
	ember vm delete --force child
}

@test "a fork is somebody: its own id, address, name, machine-id" {
	ember vm fork origin someone
	[ "$(field origin .id)" != "$(field someone .id)" ]
	equal "$(field someone .parent_vm)" origin
	expect 0 ember exec someone -- hostname
	equal "$output" someone
	expect 0 ember exec someone -- cat /etc/machine-id
	equal "$output" "$(field someone .id | tr -d -)"
	ember vm delete --force someone
}

@test "overrides: memory, processors, a larger disk that the guest then has" {
	expect 0 ember vm fork origin big --memory 320M --cpus 2 --disk-size 9G
	equal "$(field big '"\(.cpus) \(.memory_mib) \(.disk_size_mib)"')" "2 320 9216"
	expect 0 ember exec big -- sh -c 'df -m / | tail -n 1'
	[ "$(awk '{ print $2 }' <<<"$output")" -gt 8000 ]
	ember vm delete --force big
	equal "$(field origin .disk_size_mib)" 8192
}

@test "a smaller disk is refused" {
	expect 2 ember vm fork origin less --disk-size 4G --no-start
	explains "shrink"
	expect 3 ember vm inspect less
}

@test "a running source is refused, with the way out" {
	ember vm start origin
	expect 4 ember vm fork origin live --no-start
	explains "is running" "ember vm stop origin"
	ember vm stop origin
}

@test "a source that is not there, a name that is taken" {
	expect 3 ember vm fork nosuch copy
	expect 4 ember vm fork origin origin --no-start
	contains "$stderr" "already exists"
}

@test "a chain of forks, and deletes from the middle" {
	ember vm fork origin a --no-start
	ember vm fork a b --no-start
	ember vm fork b c --no-start
	equal "$(field c .parent_vm)" b
	ember vm delete a b
	ember vm start c
	expect 0 ember exec c -- cat /root/file
	equal "$output" "from origin"
	ember vm delete --force c
}

@test "the alias cp, and JSON" {
	expect 0 ember vm cp origin copied --no-start --format json
	json '.name == "copied" and .status == "created" and .parent_vm == "origin"'
	ember vm delete copied
}

@test "a fork costs no space until it writes" {
	local before after

	before=$(df --output=used -k "$EMBER_STATE_DIR/store" | tail -n 1)
	ember vm fork origin cheap --no-start
	sync -f "$EMBER_STATE_DIR/store"
	after=$(df --output=used -k "$EMBER_STATE_DIR/store" | tail -n 1)
	[ $((after - before)) -lt 4096 ]
	ember vm delete cheap
}

@test "a fork that never ran can be forked" {
	ember vm create fresh --image busybox "${SMALL[@]}" --no-start
	expect 0 ember vm fork fresh fresh-2 --no-start
	ember vm delete fresh fresh-2
}
