#!/usr/bin/env escript
%% functions.escript EBIN MODULE...: a line for each function that a module exports, and for
%% the module itself: `MODULE NAME ARITY yes|no'.  `yes': the shell's h() has something to
%% say about it.
-mode(compile).
-include_lib("kernel/include/eep48.hrl").

main([Ebin | Modules]) ->
    true = code:add_patha(Ebin),
    lists:foreach(fun(Name) -> functions(list_to_atom(Name)) end, Modules).

functions(Module) ->
    {ModuleDoc, Docs} =
        case code:get_doc(Module) of
            {ok, #docs_v1{module_doc = Found, docs = Entries}} -> {Found, Entries};
            {error, _} -> {none, []}
        end,
    io:format("~s ~s ~b ~s~n", [Module, "-", 0, known(ModuleDoc)]),
    _ = [
        io:format("~s ~s ~b ~s~n", [Module, Name, Arity, known(doc(Name, Arity, Docs))])
     || {Name, Arity} <- Module:module_info(exports), Name =/= module_info
    ].

doc(Name, Arity, Docs) ->
    case lists:keyfind({function, Name, Arity}, 1, Docs) of
        {_, _, _, Doc, _} -> Doc;
        false -> none
    end.

known(#{<<"en">> := [_ | _]}) -> "yes";
known(_None) -> "no".
