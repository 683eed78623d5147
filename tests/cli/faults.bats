# Failure injection: every named step of every changing command is made to fail, and then to die.
#
# The steps of a command are learnt by running it once (EMBER_STEPS_TO); the names are also looked up
# in the sources, so that a step which no test reaches is a failure itself. After each fault: nothing
# leaked, no record lost or half-written, the other VM untouched, reconcile ends clean, and the same
# command then succeeds.
load lib

setup_file() {
	new_state
	command -v jq >/dev/null
	ember vm create bystander --image busybox "${SMALL[@]}" --no-start
	field bystander . | jq -S . >"$BATS_FILE_TMPDIR/bystander"
	export REACHED=$BATS_FILE_TMPDIR/reached
	: >"$REACHED"
	make_fake_mmdebstrap
	make_frugal_apt
}

teardown_file() {
	drop_state
}

teardown() {
	[ ! -s "$BATS_TEST_TMPDIR/device" ] || losetup --detach "$(cat "$BATS_TEST_TMPDIR/device")"
}

# The real one is tested in image.bats; here its part is played in no time.
make_fake_mmdebstrap() {
	local bin=$BATS_FILE_TMPDIR/bin

	mkdir -p "$bin"
	cat >"$bin/mmdebstrap" <<-'FAKE'
		#!/bin/bash
		# The target is the last argument but one, or the one that ends in .tar; else stdout.
		target=-
		for word in "$@"; do
			case $word in -*) ;; *.tar) target=$word ;; esac
		done
		layer=$(find "$OCI/busybox/blobs/sha256" -size +100k | head -n 1)
		if [ "$target" = - ]; then gzip -dc "$layer"; else gzip -dc "$layer" >"$target"; fi
	FAKE
	chmod +x "$bin/mmdebstrap"
}

# The real apt once, then what it gave that time: the kernel's steps fetch it a dozen times.
make_frugal_apt() {
	local bin=$BATS_FILE_TMPDIR/frugal kept=$BATS_FILE_TMPDIR/kept program

	mkdir -p "$bin" "$kept"
	for program in apt-get apt-cache; do
		cat >"$bin/$program" <<-FRUGAL
			#!/bin/bash
			real=$(command -v "$program") kept=$kept
			case \$1 in
			update) [ -e "\$kept/depends" ] || exec "\$real" "\$@" ;;
			depends)
				[ -s "\$kept/depends" ] || "\$real" "\$@" >"\$kept/depends"
				cat "\$kept/depends"
				;;
			download)
				if compgen -G "\$kept/*.deb" >/dev/null; then
					cp "\$kept"/*.deb .
				else
					"\$real" "\$@" && cp ./*.deb "\$kept/"
				fi
				;;
			esac
		FRUGAL
		chmod +x "$bin/$program"
	done
}

steps_in_sources() {
	grep -rhoP --include='*.c' 'failpoint\("\K[^"]+' "$CLI_DIR/../../src" | sort -u
}

# Of this installation: other files run beside this one and attach what is theirs.
resources() {
	losetup -a 2>/dev/null | grep -c "$EMBER_STATE_DIR" || true
	grep -c "$EMBER_STATE_DIR" /proc/self/mounts || true
}

hypervisors() {
	processes | xargs -r ps -o comm= -p | grep -c '^qemu' || true
}

# complain WHAT: note it and go on, so that one run shows every step that is wrong.
complain() {
	printf '%s at %s, %s: %s\n' "$TOLD_COMMAND" "$TOLD_STEP" "$TOLD_MODE" "$1" >>"$BATS_TEST_TMPDIR/complaints"
}

check_world() {
	local running output

	if ! output=$(ember reconcile 2>&1); then
		complain "reconcile failed: $output"
	fi
	output=$(ember reconcile --dry-run --format json 2>&1)
	[ "$(jq -c '.actions // .' <<<"$output" 2>/dev/null)" = '[]' ] ||
		complain "reconcile did not end clean: $output"
	output=$(assert_no_leftovers 2>&1) || complain "$output"
	[ "$(resources)" = "$RESOURCES" ] || complain "loop devices or mounts: $(resources)"
	running=$(ember vm list --format json | jq '[.[] | select(.status == "running")] | length')
	until_true 5 test_hypervisors "$running" 2>/dev/null ||
		complain "$(hypervisors) hypervisors for $running running VMs"
	field bystander . | jq -S . | cmp -s - "$BATS_FILE_TMPDIR/bystander" || complain "the bystander changed"
}

test_hypervisors() {
	[ "$(hypervisors)" = "$1" ]
}

# with_faults PREPARE UNDO COMMAND...: PREPARE makes what the command needs, UNDO takes away what it
# and the command made; both must stand any outcome. ONLY is a pattern for the steps to take.
with_faults() {
	local prepare=$1 undo=$2 steps step mode status

	shift 2
	TOLD_COMMAND=$*
	RESOURCES=$(resources)
	$prepare
	rm -f "$BATS_TEST_TMPDIR/steps"
	EMBER_STEPS_TO=$BATS_TEST_TMPDIR/steps "$@"
	$undo
	steps=$(sort -u "$BATS_TEST_TMPDIR/steps" | grep -E "${ONLY-}")
	echo "$steps" >>"$REACHED"
	: >"$BATS_TEST_TMPDIR/complaints"
	for step in $steps; do
		for mode in FAIL KILL; do
			TOLD_STEP=$step TOLD_MODE=$mode
			$prepare
			status=0
			env_name=EMBER_${mode}_AT
			(
				export "$env_name=$step"
				"$@"
			) >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" || status=$?
			if [ "$mode" = FAIL ] && [ "$status" -ne 0 ]; then
				grep -q "made to fail at step '$step'" "$BATS_TEST_TMPDIR/err" ||
					complain "the error does not tell its cause: $(cat "$BATS_TEST_TMPDIR/err")"
			fi
			check_world
			$undo
			$prepare
			"$@" >"$BATS_TEST_TMPDIR/out" 2>&1 ||
				complain "then the same command failed: $(cat "$BATS_TEST_TMPDIR/out")"
			$undo
			assert_no_processes 2>>"$BATS_TEST_TMPDIR/complaints" || true
		done
	done
	if [ -s "$BATS_TEST_TMPDIR/complaints" ]; then
		cat "$BATS_TEST_TMPDIR/complaints" >&2
		return 1
	fi
}

nothing() {
	:
}

have_stopped() {
	ember vm inspect subject >/dev/null 2>&1 ||
		ember vm create subject --image busybox "${SMALL[@]}" --no-start >/dev/null
	[ "$(status_of subject)" != running ] || ember vm stop --force subject >/dev/null
}

have_running() {
	have_stopped
	ember vm start subject >/dev/null
}

no_subject() {
	ember vm delete --force subject >/dev/null 2>&1 || true
}

no_fork() {
	ember vm delete --force forked >/dev/null 2>&1 || true
}

leave_subject_stopped() {
	ember vm stop --force subject >/dev/null 2>&1 || true
}

no_image() {
	ember image delete made >/dev/null 2>&1 || true
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

@test "image pull" {
	with_faults nothing no_image ember image pull "oci:$OCI/busybox:latest" --name made
}

# A layout whose reference moves: what is here is replaced by what it names by then.
@test "image pull --refresh: at any time there is an image of that name" {
	local moving=$BATS_FILE_TMPDIR/moving

	have_former() {
		rm -rf "$moving"
		cp -r "$OCI/busybox" "$moving"
		ember image pull "oci:$moving:latest" --name made >/dev/null 2>&1
		move_layout "$moving"
	}
	lose_image() {
		ember image inspect made >/dev/null 2>&1 || complain "there is no image"
		no_image
	}
	with_faults have_former lose_image ember image pull "oci:$moving:latest" --name made --refresh
}

@test "image pull from an archive, by way of skopeo" {
	local archive=$BATS_FILE_TMPDIR/busybox.tar

	skopeo copy --quiet "oci:$OCI/busybox:latest" "oci-archive:$archive" 3>&-
	with_faults nothing no_image ember image pull "oci-archive:$archive" --name made
}

@test "the kernel that the first start fetches" {
	PATH=$BATS_FILE_TMPDIR/frugal:$PATH
	no_kernel() {
		have_stopped
		rm -rf "$EMBER_STATE_DIR"/kernels/*
	}
	# The start's own steps are above.
	ONLY='^kernel' with_faults no_kernel leave_subject_stopped ember vm start subject
	no_subject
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

@test "image build" {
	PATH=$BATS_FILE_TMPDIR/bin:$PATH
	with_faults nothing no_image ember image build made
}

@test "image delete" {
	have_image() {
		ember image pull "oci:$OCI/busybox:latest" --name made >/dev/null
	}
	with_faults have_image no_image ember image delete made
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

	# No command of this release grows a volume that exists; the unit tests do.
	echo storage.resize >>"$REACHED"
	unreached=$(comm -23 <(steps_in_sources) <(sort -u "$REACHED"))
	equal "$unreached" ""
}
