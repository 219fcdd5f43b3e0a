/*
 * view.c: the object behind our memoryviews.  A memoryview over a PyBuffer refers to
 * one of these, and it to a pinned segment: the memory stays, while the stream and the
 * PyBuffer go on, or go away.  So it is with memory of the host's own.
 */
#include "internal.h"

pyb_view *
pyb__view_new(pyb_state *state)
{
    pyb_view *self = PyObject_GC_New(pyb_view, state->view_type);
    if (self != NULL) {
        self->view = (stream_view){0};
        self->release = NULL;
        PyObject_GC_Track(self);
    }
    return self;
}

static void
view_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    pyb_view *own = (pyb_view *)self;
    if (own->release != NULL) {
        own->release(own->arg);
    } else {
        stream_view_release(&own->view);
    }
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

PyObject *
pyb_memory_view(pyb_state *state, const void *data, size_t size,
                void (*release)(void *arg), void *arg)
{
    pyb_view *exporter = pyb__view_new(state);
    if (exporter == NULL) {
        return NULL;
    }
    exporter->view.data = data;
    exporter->view.size_bytes = size;
    PyObject *view = PyMemoryView_FromObject((PyObject *)exporter);
    if (view != NULL) {
        exporter->release = release;
        exporter->arg = arg;
    }
    Py_DECREF(exporter);
    return view;
}

static int
view_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
    static const char nothing[1];
    const stream_view *pinned = &((pyb_view *)self)->view;
    const void *bytes = pinned->size_bytes != 0 ? (const void *)pinned->data : nothing;
    return PyBuffer_FillInfo(view, self, (void *)(uintptr_t)bytes,
                             (Py_ssize_t)pinned->size_bytes, 1, flags);
}

/* What is there in one piece needs no merging, and the GIL stays. */
static bool
pin_contiguous(stream *s, stream_view *view)
{
    pyb__lock(s);
    stream_status status = stream_view_locked(s, UINT64_MAX, view);
    bool all = status == STREAM_OK && view->size_bytes == stream_available_locked(s);
    stream_reader_unlock(s);
    if (status == STREAM_OK && !all) {
        stream_view_release(view);
    }
    return all;
}

int
pyb__buffer_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
    view->obj = NULL;
    if (flags & PyBUF_WRITABLE) {
        PyErr_SetString(PyExc_BufferError, "Object is not writable.");
        return -1;
    }
    stream *s = ((pyb_buffer *)self)->stream;
    pyb_view *exporter = pyb__view_new(pyb__state_of(self));
    if (exporter == NULL) {
        return -1;
    }
    int result = -1;
    stream_status status = STREAM_OK;
    if (!pin_contiguous(s, &exporter->view)) {
        Py_BEGIN_ALLOW_THREADS
        status = stream_view_all(s, &exporter->view);
        Py_END_ALLOW_THREADS
    }
    if (status == STREAM_OK) {
        result = PyObject_GetBuffer((PyObject *)exporter, view, flags);
    } else {
        PyErr_NoMemory();
    }
    Py_DECREF(exporter);
    return result;
}

static PyType_Slot view_slots[] = {
    {Py_tp_doc, (void *)"The memory behind a memoryview of a PyBuffer."},
    {Py_tp_dealloc, view_dealloc},
    {Py_tp_traverse, pyb__visit_type},
    {Py_bf_getbuffer, view_getbuffer},
    {0, NULL},
};

PyType_Spec pyb__view_spec = {
    .name = "_erlang.View",
    .basicsize = sizeof(pyb_view),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = view_slots,
};
