#include "atoms.h"

nif_atoms nif_am;

void
nif_atoms_init(ErlNifEnv *env)
{
#define NIF_MAKE_ATOM(name) nif_am.am_##name = enif_make_atom(env, #name);
    NIF_ATOMS(NIF_MAKE_ATOM)
#undef NIF_MAKE_ATOM
}
