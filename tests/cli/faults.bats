# Failure injection in what machines do; faults.bash says how it goes.
load faults

setup_file() {
	setup_faults
}

teardown_file() {
	drop_state
}

teardown() {
	[ ! -s "$BATS_TEST_TMPDIR/device" ] || losetup --detach "$(cat "$BATS_TEST_TMPDIR/device")"
}

@test "vm create" {
	with_faults nothing no_subject ember vm create subject --image busybox "${SMALL[@]}" --no-start
}

@test "vm fork" {
	with_faults have_stopped no_fork ember vm fork subject forked --no-start
	no_subject
}

@test "vm start" {
	with_faults have_stopped leave_subject_stopped ember vm start subject
	no_subject
}

@test "vm stop" {
	have_ready() {
		have_running
		ember vm wait subject --for ready >/dev/null
	}
	with_faults have_ready leave_subject_stopped ember vm stop subject
	no_subject
}

@test "vm stop --force" {
	with_faults have_running leave_subject_stopped ember vm stop subject --force
	no_subject
}

@test "vm delete" {
	with_faults have_stopped no_subject ember vm delete subject
}

@test "vm delete --force of a running VM" {
	with_faults have_running no_subject ember vm delete subject --force
}

# Here the keeper is told when it is started, and reaches its last steps when the guest has gone.
@test "a guest that powers off by itself" {
	local step mode

	for step in keeper.exit-report keeper.record; do
		for mode in FAIL KILL; do
			have_stopped
			EMBER_STEPS_TO=$REACHED env "EMBER_${mode}_AT=$step" \
				timeout 60 "$EMBER" vm start subject 3>&-
			ember exec subject -- sync
			ember exec subject -- sh -c 'poweroff -f' || true
			ember vm wait subject --for stopped --timeout 30
			until_true 10 assert_no_processes
			ember reconcile
			expect 0 ember reconcile --dry-run --format json
			json '(.actions // .) == []'
			equal "$(status_of subject)" stopped
			assert_no_leftovers
			ember vm start subject
			ember exec subject -- true
			ember vm stop --force subject
		done
	done
	no_subject
}

@test "cp out of a guest" {
	with_faults have_running no_subject ember cp subject:/etc/passwd "$BATS_TEST_TMPDIR/passwd"
	equal "$(head -n 1 "$BATS_TEST_TMPDIR/passwd")" "root:x:0:0:root:/root:/bin/sh"
}

@test "a copy that fails leaves what was there, and nothing beside it" {
	local dir=$BATS_TEST_TMPDIR/to

	have_running
	mkdir "$dir"
	echo old >"$dir/passwd"
	EMBER_FAIL_AT=guest.copy.rename expect 1 ember cp subject:/etc/passwd "$dir/passwd"
	equal "$(ls -A "$dir")" passwd
	equal "$(cat "$dir/passwd")" old
	no_subject
}

@test "reconcile after both processes of a VM were killed" {
	have_dead() {
		local pids

		have_running
		pids=$(processes)
		# shellcheck disable=SC2086 # one pid a word
		kill -9 $pids
		until_true 5 assert_no_processes 2>/dev/null
	}
	with_faults have_dead no_subject ember reconcile
}

# whole_life STORE OPTION...: an installation made and unmade, with a fault at each of its steps.
whole_life() {
	local steps step mode

	EMBER_STEPS_TO=$BATS_TEST_TMPDIR/steps ember init "$@"
	EMBER_STEPS_TO=$BATS_TEST_TMPDIR/steps ember deinit --purge
	steps=$(sort -u "$BATS_TEST_TMPDIR/steps")
	cat "$BATS_TEST_TMPDIR/steps" >>"$REACHED"
	for step in $steps; do
		for mode in FAIL KILL; do
			echo "# at $step, $mode"
			export "EMBER_${mode}_AT=$step"
			ember init "$@" || true
			ember deinit --purge || true
			unset "EMBER_${mode}_AT"
			ember deinit --purge
			ember init "$@"
			ember deinit --purge
			run grep -c "$EMBER_STATE_DIR" /proc/self/mounts
			equal "$output" 0
			[ ! -e "$EMBER_STATE_DIR" ]
		done
	done
}

@test "init and deinit of a managed store in a file" {
	[ "$(id -u)" -eq 0 ] || skip "mounting needs root"
	local -x EMBER_STATE_DIR=$EMBER_TEST_CACHE/tmp/faults-file

	mkdir -p "$EMBER_STATE_DIR"
	whole_life --storage btrfs --size 2G
	equal "$(losetup -a | grep -c "$EMBER_STATE_DIR")" 0
}

@test "init and deinit of a managed store on a device" {
	[ "$(id -u)" -eq 0 ] || skip "attaching a loop device needs root"
	local -x EMBER_STATE_DIR=$EMBER_TEST_CACHE/tmp/faults-device
	local file=$BATS_TEST_TMPDIR/store device

	truncate -s 2G "$file"
	device=$(losetup --find --show "$file")
	mkdir -p "$EMBER_STATE_DIR"
	echo "$device" >"$BATS_TEST_TMPDIR/device"
	whole_life --storage xfs --storage-path "$device"
}

@test "every step in the sources was reached" {
	local unreached

	unreached=$(comm -23 <(steps_in_sources | grep -vE "$IMAGE_STEPS" | grep -vE "$STORAGE_STEPS|$ZFS_STEPS|$QCOW2_STEPS|$THIN_STEPS") <(sort -u "$REACHED"))
	equal "$unreached" ""
}
