# What a test that says RLLB_STATIC reads in place of a header: private functions and layouts as they are, the bodies of
# public functions left blank, since it is linked with the library that has them. Lines keep their numbers, and the
# headers' warnings are the library's business.
#
# The library takes its blocks from rllb_test_malloc there (see the Makefile), which is what the test calls RLLB_MALLOC.

function hook(head, body) { print head "; " head " { " body " }" }

FNR == 1 { inside = public = 0 }
/^#endif .* stop here if you only use the API/ { inside = 1; pragma = FNR + 1 }
inside && FNR == pragma && /^$/ { print "#pragma GCC system_header"; next }
public { public = !/^}/; print ""; next }
inside && /^[a-z].*[ *]rllb_[a-z0-9_]+\(/ && !/^static/ && !/;/ {
    public = !/}$/
    if (/rllb_block_alloc\(/) hook("void *rllb_test_malloc(size_t n)", "return RLLB_MALLOC(n);")
    else if (/rllb_block_free\(/) hook("void rllb_test_free(void *p)", "RLLB_FREE(p);")
    else print ""
    next
}
{ print }
