# Kernels that were made elsewhere: added, chosen, removed, and VMs that boot them.
load lib

setup_file() {
	new_state
	STOCK=$EMBER_STATE_DIR/kernels/stock
	export STOCK
}

teardown_file() {
	drop_state
}

teardown() {
	assert_no_leftovers
}

kernel() {
	ember kernel list --format json | jq -r ".kernels[] | select(.name == \"$1\") | $2"
}

@test "a kernel is copied in, and says its machine and release" {
	local version

	version=$(jq -r .version "$STOCK/kernel.json")
	cp "$STOCK/vmlinux" "$BATS_TEST_TMPDIR/vmlinux"
	expect 0 ember kernel add mine "$BATS_TEST_TMPDIR/vmlinux" --initrd "$STOCK/initrd" --format json
	json ".name == \"mine\" and .arch == \"x86_64\" and .version == \"$version\" and .default == false"
	rm "$BATS_TEST_TMPDIR/vmlinux"
	cmp "$STOCK/vmlinux" "$EMBER_STATE_DIR/kernels/mine/vmlinux"
	equal "$(kernel mine .size)" "$(stat -c %s "$STOCK/vmlinux")"
	expect 0 ember kernel list
	contains "$output" "mine" "$version"
}

@test "a VM boots it, and keeps it from being removed" {
	ember vm create web --image busybox "${SMALL[@]}" --kernel mine --wait
	equal "$(ember exec web -- uname -r)" "$(kernel mine .version)"
	expect 4 ember kernel delete mine
	explains "kernel 'mine' is used by web" "ember vm delete web"
	ember vm delete --force web
	expect 0 ember kernel delete mine
	contains "$output" "Kernel 'mine' deleted."
	[ ! -e "$EMBER_STATE_DIR/kernels/mine" ]
}

@test "a kernel that a VM is just being made with is not removed" {
	local create remove

	ember kernel add mine "$STOCK/vmlinux" --initrd "$STOCK/initrd"
	exec 8>"$EMBER_STATE_DIR/locks/image-busybox.lock"
	flock -x 8
	ember vm create web --image busybox "${SMALL[@]}" --kernel mine --no-start 8>&- &
	create=$!
	until_true 3 is_held kernels-mine
	ember kernel delete mine 2>"$BATS_TEST_TMPDIR/told" 8>&- &
	remove=$!
	until_true 3 is_held kernel-mine
	exec 8>&-
	waited "$create"
	equal "$status" 0
	waited "$remove"
	equal "$status" 4
	contains "$(<"$BATS_TEST_TMPDIR/told")" "kernel 'mine' is used by web"
	ember vm delete web
	ember kernel delete mine
}

@test "a kernel that is just becoming the default one is not removed" {
	ember kernel add mine "$STOCK/vmlinux"
	exec 8>"$EMBER_STATE_DIR/locks/kernel-mine.lock"
	flock -x 8
	"$EMBER" kernel delete mine 2>"$BATS_TEST_TMPDIR/told" 3>&- 8>&- &
	until_true 3 is_waiting kernel-mine "$!"
	ember kernel default mine
	exec 8>&-
	waited "$!"
	equal "$status" 4
	contains "$(<"$BATS_TEST_TMPDIR/told")" "kernel 'mine' is the default one"
	ember kernel default stock
	ember kernel delete mine
}

@test "the default kernel is what VMs boot that name none" {
	ember kernel add chosen "$STOCK/vmlinux" --initrd "$STOCK/initrd" --default
	equal "$(kernel chosen .default) $(kernel stock .default)" "true false"
	ember vm create web --image busybox "${SMALL[@]}" --wait
	jq -e --arg path "$EMBER_STATE_DIR/kernels/chosen/vmlinux" '.argv | index($path) != null' \
		"$EMBER_STATE_DIR/vms/web/launch.json"
	expect 4 ember kernel delete chosen
	explains "kernel 'chosen' is the default one" "ember kernel default stock"
	expect 0 ember kernel default stock
	contains "$output" "'stock' is the default kernel."
	equal "$(kernel stock .default)" true
	# It runs on: a kernel is read at the start only.
	ember kernel delete chosen
	ember exec web -- true
	ember vm delete --force web
	expect 0 ember kernel default "$STOCK/vmlinux" --format json
	equal "$(ember info --format json | jq -r .kernel)" "$STOCK/vmlinux"
	ember kernel default stock
	expect 3 ember kernel default nothing
	explains "there is no kernel 'nothing'" "stock"
	expect 3 ember kernel default ember
	explains "ember kernel build"
}

@test "the stock kernel can be removed whatever names it: it comes again" {
	mv "$STOCK" "$BATS_TEST_TMPDIR/stock"
	cp -r "$BATS_TEST_TMPDIR/stock" "$STOCK"
	ember vm create web --image busybox "${SMALL[@]}" --kernel stock --no-start
	expect 0 ember kernel delete stock
	[ ! -e "$STOCK" ]
	# How it comes again, by apt, is in faults_image.bats.
	mv "$BATS_TEST_TMPDIR/stock" "$STOCK"
	ember vm delete web
}

# elf MACHINE: the head of an ELF file for it.
elf() {
	printf '\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0%b\0\1\0\0\0' "$1"
	head -c 1000 /dev/zero
}

@test "what is no kernel, or not one for this host, is refused" {
	local file=$BATS_TEST_TMPDIR/file

	echo rubbish >"$file"
	expect 2 ember kernel add mine "$file"
	explains "is not a kernel" "vmlinux"
	elf '\267' >"$file"
	expect 6 ember kernel add mine "$file"
	explains "'$file' is a kernel for aarch64, this host is x86_64" "ember kernel build"
	elf '\363' >"$file"
	expect 6 ember kernel add mine "$file"
	explains "a kernel for another machine"
	elf '\076' >"$file"
	expect 6 ember kernel add mine "$file"
	explains "has no PVH entry point" "CONFIG_PVH=y"
	expect 3 ember kernel add mine "$BATS_TEST_TMPDIR/missing"
	explains "missing"
	expect 2 ember kernel add mine "$BATS_TEST_TMPDIR"
	refused
	expect 3 ember kernel add mine "$STOCK/vmlinux" --initrd "$BATS_TEST_TMPDIR/missing"
	explains "missing"
	[ ! -e "$EMBER_STATE_DIR/kernels/mine" ]
}

@test "names are checked and are taken once" {
	local word

	for word in ../mine Mine '' .mine "$(printf 'x%.0s' {1..64})"; do
		expect 2 ember kernel add "$word" "$STOCK/vmlinux"
		expect 2 ember kernel delete "$word"
	done
	expect 2 ember kernel add stock "$STOCK/vmlinux"
	explains "'stock' is the distribution's kernel"
	ember kernel add once "$STOCK/vmlinux"
	expect 4 ember kernel add once "$STOCK/vmlinux"
	explains "already exists" "ember kernel delete once"
	ember kernel delete once
}

@test "several are removed at once, and each failure is told" {
	ember kernel add one "$STOCK/vmlinux"
	ember kernel add two "$STOCK/vmlinux"
	expect 3 ember kernel delete one nothing two
	contains "$stderr" "there is no kernel 'nothing'"
	equal "$(kernel one .name)$(kernel two .name)" ""
	expect 3 ember kernel delete nothing --format json
	json '.error.code == "not_found"'
	ember kernel add one "$STOCK/vmlinux"
	expect 0 ember kernel delete one --format json
	json '.kernel == "one" and .status == "deleted"'
}
