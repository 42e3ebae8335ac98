#!/bin/bash
# Builds the modules against the headers of the installed nginx (Debian: nginx-dev) into build/nginx, away from its
# sources; `make nginx-module` runs it. Where nginx-dev is missing it says so and is content.

cd "$(dirname "$0")/../.." || exit 1
root=$PWD source=/usr/share/nginx/src out=$PWD/build/nginx

if [ ! -r $source/conf_flags ]; then
    echo "nginx-module: not built, nginx-dev is missing (apt-get install --no-install-recommends nginx-dev)"
    exit 0
fi
mkdir -p "$out" || exit 1

# The line that tells what went wrong, and the end of this.
broken() # log
{
    grep -m 10 -iE 'error|not found|invalid' "$1" >&2 || tail -n 5 "$1" >&2
    echo "nginx-module: failed, see $1" >&2
    exit 1
}

configure()
{
    . $source/conf_flags
    cd $source || return 1
    ./configure "${NGX_CONF_FLAGS[@]}" --add-dynamic-module="$root/examples/nginx" --builddir="$out/objects" \
        --with-stream --with-cc-opt='-g1 -O2 -fPIC -fno-semantic-interposition -ffunction-sections -fdata-sections' \
        --with-ld-opt='-Wl,-z,relro -Wl,-z,now -fPIC'
}

made=$out/objects/Makefile
if [ ! "$made" -nt examples/nginx/config ] || [ ! "$made" -nt $source/conf_flags ]; then
    rm -rf "$out/objects"
    (configure) >"$out/configure.log" 2>&1 || broken "$out/configure.log"
fi
env -u MAKEFLAGS -u MFLAGS make -f "$made" -C $source modules >"$out/make.log" 2>&1 || broken "$out/make.log"
for module in "$out"/objects/ngx_*_rllb_module.so; do
    to=$out/${module##*/}
    cmp -s "$module" "$to" || { cp "$module" "$to.new" && mv "$to.new" "$to"; } || exit 1 # an nginx may have it open
done
version=$(PATH=$PATH:/usr/sbin nginx -v 2>&1 | sed 's/.*: //')
echo "nginx-module: $(cd "$out" && echo ngx_*_rllb_module.so), for $version"
